"""What the pages say of the flow: jobs in hand and a minute by stage, attempts by hour, and the cost of a picture."""

from decimal import Decimal
from pathlib import Path

from shared.db.engine import Engine, transaction
from shared.db.read import flow, picture_costs
from shared.lifecycle import ImageState, Stage
from tests.support import held, rows
from tests.support.browsing import signed_in


def test_stages_show_what_is_in_hand_and_what_passed_within_a_minute(engine: Engine) -> None:
    held.held(engine, 2)
    rows.add(engine, [rows.new_job("waits")])
    (claim,) = rows.claim(engine)
    rows.open_intents(engine, [claim])
    with transaction(engine) as connection:
        found = flow.stages(connection)
    assert found == {("bloom", Stage.SUBMIT): flow.StageFlow(per_minute=2.0, in_hand=1)}
    rows.rows(engine, "UPDATE job_event SET at = at - interval '2 minutes'")
    with transaction(engine) as connection:
        assert flow.stages(connection)["bloom", Stage.SUBMIT].per_minute == 0


def test_attempts_are_told_by_hour_and_outcome(engine: Engine, tmp_path: Path) -> None:
    held.held(engine, 22)
    held.refused(engine)
    rows.rows(engine, "UPDATE submission SET opened_at = now() - interval '3 hours' WHERE outcome = 'unknown'")
    with transaction(engine) as connection:
        hours = flow.attempts(connection)
    assert len(hours) == flow.HOURS
    assert (dict(hours[-1].outcomes), hours[-1].more) == ({"rejected": 1}, False)
    assert dict(hours[-4].outcomes) == {"unknown": 22}
    with signed_in(engine, tmp_path) as browser:
        page = browser.get("/").text
    assert 'aria-label="attempts to pay by hour and outcome"' in page
    assert 'class="fill-unknown"' in page


def test_a_stored_picture_costs_what_was_bought_in_vain_too(engine: Engine, tmp_path: Path) -> None:
    held.failed(engine)
    rows.transferring(engine, ImageState.READY)
    rows.rows(
        engine, "UPDATE job SET state = 'succeeded', finished_at = now(), due_at = NULL WHERE finished_at IS NULL"
    )
    rows.rows(engine, "UPDATE submission SET settled = 2 WHERE outcome = 'accepted'")
    with transaction(engine) as connection:
        (row,) = [each for each in picture_costs.bill(connection) if each["account"] == "bloom"]
        assert row["per_picture"] is None
    rows.rows(
        engine,
        "UPDATE image SET state = 'stored', link = NULL, bucket = 'b', key = 'k', sha256 = '', stored_at = now() "
        "WHERE state = 'ready'",
    )
    with transaction(engine) as connection:
        (row,) = [each for each in picture_costs.bill(connection) if each["account"] == "bloom"]
    assert row["per_picture"] == Decimal(4)
    with signed_in(engine, tmp_path) as browser:
        assert "4.0000" in browser.get("/money").text
        assert len(browser.statements) <= 3
