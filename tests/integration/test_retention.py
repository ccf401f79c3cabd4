"""Retention: what ended long ago leaves, what is still needed stays with its reason, and no figure moves by a digit."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from producer import Client
from producer.client import NoSuchBatchError
from producer.client.leaving import BusyError
from shared.db.engine import Engine, transaction
from shared.db.jobs.resolve import resolve
from shared.db.leaving import prune as pruning
from shared.db.leaving import staying
from shared.db.leaving.prune import PruneCursor
from shared.db.payments import drift, spending
from shared.db.read import planning, verifying
from shared.retention import Retention, parse_retention
from shared.settings import Settings
from tests.support import aged, held, rows
from tests.support.aged import KINDS
from tests.support.command import Ran, genqueue
from tests.support.drain import on_loop
from worker.runtime import Runtime
from worker.upkeep.leaving import prune

EVERYTHING = parse_retention("succeeded=90d,failed=90d,cancelled=90d")
PRICES = (Decimal("0.035"), Decimal("1.10"), Decimal("0.00000001"), Decimal("123456789.123456789"))
TABLES = ("job", "submission", "image", "job_event", "ledger")


def prune_all(engine: Engine, retention: Retention = EVERYTHING, *, limit: int = 7) -> int:
    """Prune in transactions of a few jobs; the batches then. Returns how many jobs left."""
    left = 0
    for state in retention:
        cursor = PruneCursor(state)
        while not cursor.done:
            with transaction(engine) as connection:
                assert pruning.take_turn(connection)
                left += pruning.prune_jobs(connection, cursor, retention, limit=limit)
    with transaction(engine) as connection:
        pruning.prune_batches(connection, retention)
    return left


def counts(engine: Engine) -> dict[str, int]:
    return {
        table: rows.rows(engine, f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - our names
        for table in TABLES
    }


def bills(engine: Engine, *batches: str) -> dict[str | None, Any]:
    """Every bill, in figures that show each digit."""
    with transaction(engine) as connection:
        found = {name: spending.bill(connection, name) for name in (None, *batches)}
    return {name: [{key: str(value) for key, value in row.items()} for row in bill] for name, bill in found.items()}


def booked(engine: Engine) -> list[Any]:
    """What the lines of the ledger add up to, those of jobs that have left included."""
    return rows.rows(
        engine,
        """SELECT account, CAST(at AT TIME ZONE 'UTC' AS date), kind, unit, sum(lines), sum(reserved), sum(settled),
             sum(held), sum(elsewhere)
           FROM (SELECT account, at, kind, unit, 1 AS lines, reserved, settled, held, elsewhere FROM ledger UNION ALL
             SELECT account, day, kind, unit, lines, reserved, settled, held, elsewhere FROM ledger_day) AS line
           GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""",
    )


def why(engine: Engine, retention: Retention = EVERYTHING) -> dict[str | None, int]:
    with transaction(engine) as connection:
        outlook = pruning.outlook(connection, retention, tuple(retention))
    return {one.why: one.jobs for one in outlook.old}


def backdate_batches(engine: Engine, days: int = 500) -> None:
    rows.rows(engine, "UPDATE batch SET created_at = created_at - :days * interval '1 day'", days=days)


def test_every_bill_shows_the_same_to_the_last_digit_whatever_has_left(engine: Engine) -> None:
    random = Random(14)
    for number in range(48):
        account, batch = random.choice(["bloom", "getimg"]), random.choice(["spring", "summer"])
        days = random.choice([40, 80, 91, 400])
        aged.ended(engine, KINDS[number % 8], account=account, batch=batch, price=random.choice(PRICES), days=days)
    held.held(engine, 2, account="openrouter", batch="spring")
    before, lines = bills(engine, "spring", "summer"), booked(engine)
    left = prune_all(engine)
    assert 0 < left < 48
    assert (bills(engine, "spring", "summer"), booked(engine)) == (before, lines)
    assert prune_all(engine, parse_retention("succeeded=33d,failed=33d,cancelled=33d")) == 48 - left
    assert counts(engine)["job"] == 2
    assert (bills(engine, "spring", "summer"), booked(engine)) == (before, lines)


def test_a_job_leaves_with_all_that_is_its_own_and_nothing_of_another_goes(engine: Engine) -> None:
    aged.ended(engine, "twice")
    stays = aged.ended(engine, "twice", days=50)
    assert prune_all(engine) == 1
    for table in TABLES:
        column = "id" if table == "job" else "job_id"
        found = rows.rows(engine, f"SELECT {column} FROM {table}")  # noqa: S608 - our names
        assert {row[0] for row in found} == {stays}


def test_a_picture_that_was_adopted_since_it_was_reported_is_not_reported_again(engine: Engine, client: Client) -> None:
    aged.ended(engine)
    rows.rows(
        engine,
        "INSERT INTO unowned_image (account, upstream_id, made_at, note) "
        "SELECT account, upstream_id, now(), 'x' FROM image UNION ALL VALUES ('bloom', 'strange', now(), 'x')",
    )
    assert [row["upstream_id"] for row in client.unowned()] == ["strange"]
    assert prune_all(engine) == 1
    assert [row["upstream_id"] for row in client.unowned()] == ["strange"]


def test_a_batchs_cap_counts_what_has_left(engine: Engine) -> None:
    aged.ended(engine, "bought", price=Decimal("0.5"), days=100)
    aged.ended(engine, "elsewhere", price=Decimal("0.25"), days=100)
    aged.ended(engine, "bought", price=Decimal("0.125"), days=1)
    (batch,) = rows.rows(engine, "SELECT id FROM batch")
    with transaction(engine) as connection:
        assert planning.spent_in_batch(connection, batch.id, "bloom") == Decimal("0.875")
    assert prune_all(engine) == 2
    with transaction(engine) as connection:
        assert planning.spent_in_batch(connection, batch.id, "bloom") == Decimal("0.875")
    rows.add(engine, [rows.new_job("late")], caps={"bloom": Decimal(1)})
    assert rows.open_intents(engine, rows.claim(engine), price=Decimal("0.126")) == []
    rows.add(engine, [rows.new_job("cheap")], batch="b", caps={"bloom": Decimal("1.001")})
    assert len(rows.open_intents(engine, rows.claim(engine, count=2), price=Decimal("0.126"))) == 1


def test_what_has_left_at_an_unknown_price_still_closes_a_cap(engine: Engine) -> None:
    aged.ended(engine, "unpriced", days=100)
    assert prune_all(engine) == 1
    rows.add(engine, [rows.new_job("late")], caps={"bloom": Decimal(1000)})
    assert rows.open_intents(engine, rows.claim(engine), price=Decimal("0.01")) == []


@pytest.mark.parametrize("read_before", [True, False])
def test_a_balance_is_compared_with_the_same_sums_whatever_has_left(engine: Engine, *, read_before: bool) -> None:
    for kind in KINDS:
        aged.ended(engine, kind, days=100)

    def reading() -> drift.BalanceFigure:
        with transaction(engine) as connection:
            drift.record(connection, "bloom", Decimal(50))
        with transaction(engine) as connection:
            return drift.spans(connection)[-1].last

    before = reading() if read_before else None
    assert prune_all(engine) == len(KINDS)
    after = reading()
    # Half of the lost call was charged, the elsewhere and the unpriced count nothing here.
    assert (after.settled, after.held) == (Decimal("0.035") * 2 + Decimal("0.0175"), Decimal(0))
    assert (after.held_ever, after.unpriced_settled) == (Decimal("0.035"), 1)
    if before:
        assert (after.settled, after.held_ever, after.unpriced_settled, after.in_air) == (
            before.settled,
            before.held_ever,
            before.unpriced_settled,
            before.in_air,
        )


def test_the_days_that_are_compared_begin_with_the_first_purchase_although_it_has_left(engine: Engine) -> None:
    aged.ended(engine, "bought", account="getimg", days=100)
    rows.rows(
        engine,
        "INSERT INTO cost_reading (account, key_id, day, asked_at, cost) "
        "SELECT 'getimg', 'k', CAST(now() AT TIME ZONE 'UTC' AS date) - 2, now() - interval '1 day', 0.25",
    )
    with transaction(engine) as connection:
        before = verifying.figures(connection)
    assert [figure.stated for figure in before] == [Decimal("0.25")]
    assert prune_all(engine) == 1
    with transaction(engine) as connection:
        assert verifying.figures(connection) == before


def _on_hold(engine: Engine) -> None:
    rows.rows(engine, "UPDATE job SET on_hold = true WHERE id = :id", id=aged.ended(engine, days=100))


def _lost_and_given_up(engine: Engine) -> None:
    (job_id,) = held.held(engine)
    with transaction(engine) as connection:
        resolve(connection, job_id, resend=False, charged=None, actor="person")
    aged.age(engine, job_id, 100)


def _uncollected(engine: Engine) -> None:
    job_id = aged.ended(engine, days=100)
    rows.rows(engine, "UPDATE image SET state = 'ready' WHERE job_id = :id", id=job_id)


def _beside_a_doubt(engine: Engine) -> None:
    aged.ended(engine, days=100)
    (doubt,) = held.held(engine, batch="other")
    aged.age(engine, doubt, 101)


def _not_swept(engine: Engine) -> None:
    aged.ended(engine, days=100)
    rows.rows(
        engine, "UPDATE account SET sweep_at = now(), swept_until = now() - interval '99 days' WHERE name = 'bloom'"
    )


def _never_swept(engine: Engine) -> None:
    aged.ended(engine, days=100)
    rows.rows(engine, "UPDATE account SET sweep_at = now() WHERE name = 'bloom'")


def _in_a_usage_figure(engine: Engine) -> None:
    aged.ended(engine, days=100)
    rows.rows(
        engine,
        "INSERT INTO usage_reading (account, key_id, asked_at, used, elsewhere) "
        "VALUES ('bloom', 'k', now() - interval '101 days', 1, 0)",
    )


def _corrected_lately(engine: Engine) -> None:
    rows.rows(engine, "UPDATE ledger SET at = now() WHERE job_id = :id", id=aged.ended(engine, days=100))


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        (_on_hold, staying.HELD),
        (_lost_and_given_up, staying.MONEY),
        (_uncollected, staying.UNCOLLECTED),
        (_beside_a_doubt, staying.DOUBT_BESIDE),
        (_not_swept, staying.NOT_SWEPT),
        (_never_swept, staying.NOT_SWEPT),
        (_in_a_usage_figure, staying.IN_FIGURES),
        (_corrected_lately, staying.IN_FIGURES),
    ],
)
def test_what_is_still_needed_stays_and_says_why(engine: Engine, stage: Callable[[Engine], None], reason: str) -> None:
    stage(engine)
    before = held.everything(engine)
    assert why(engine) == {reason: 1}
    assert prune_all(engine) == 0
    assert held.everything(engine)[:6] == before[:6]
    assert reason in staying.REASONS


def test_a_doubt_at_another_provider_keeps_nothing(engine: Engine) -> None:
    aged.ended(engine, days=100)
    (doubt,) = held.held(engine, account="getimg")
    aged.age(engine, doubt, 101)
    assert prune_all(engine) == 1


def test_a_younger_doubt_keeps_nothing_that_was_over_days_before_it(engine: Engine) -> None:
    aged.ended(engine, days=100)
    held.held(engine)
    assert prune_all(engine) == 1


def test_what_is_younger_than_the_figures_that_are_compared_stays_whatever_is_set(engine: Engine) -> None:
    aged.ended(engine, days=10)
    one_day = parse_retention("succeeded=1d")
    assert prune_all(engine, one_day) == 0
    assert why(engine, one_day) == {staying.IN_FIGURES: 1}


def test_what_stays_does_not_keep_what_comes_after_it(engine: Engine) -> None:
    for days in (300, 200, 150):
        rows.rows(engine, "UPDATE job SET on_hold = true WHERE id = :id", id=aged.ended(engine, days=days))
    aged.ended(engine, days=100)
    assert prune_all(engine, limit=2) == 1


def test_only_states_that_are_named_leave(engine: Engine) -> None:
    aged.ended(engine, "bought")
    aged.ended(engine, "refused")
    aged.ended(engine, "cancelled")
    assert prune_all(engine, parse_retention("failed=90d")) == 1
    assert rows.states(engine) == {"succeeded": 1, "cancelled": 1}


def test_an_old_empty_batch_leaves_with_a_line_of_what_it_came_to(engine: Engine) -> None:
    for kind in ("bought", "bought", "refused", "cancelled"):
        aged.ended(engine, kind, batch="spring")
    aged.ended(engine, "bought", batch="summer", days=10)
    before = bills(engine, "spring")
    backdate_batches(engine)
    assert prune_all(engine) == 4
    assert [row.name for row in rows.rows(engine, "SELECT name FROM batch")] == ["summer"]
    (line,) = rows.rows(engine, "SELECT * FROM past_batch")
    assert (line.name, line.succeeded, line.failed, line.cancelled) == ("spring", 2, 1, 1)
    assert line.left_at is not None
    assert bills(engine, "spring") == before


def test_a_batch_that_is_young_stays_although_it_is_empty(engine: Engine) -> None:
    aged.ended(engine)
    assert prune_all(engine) == 1
    assert len(rows.rows(engine, "SELECT * FROM batch")) == 1


def test_a_batch_to_which_somebody_adds_just_now_stays(engine: Engine) -> None:
    aged.ended(engine)
    backdate_batches(engine)
    with transaction(engine) as adding:
        adding.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('enqueue b', 0))"))
        assert prune_all(engine) == 1
    assert len(rows.rows(engine, "SELECT * FROM batch")) == 1


def test_the_bill_of_a_name_that_is_used_again_is_the_new_batchs(engine: Engine, client: Client) -> None:
    aged.ended(engine, price=Decimal(7), batch="spring")
    backdate_batches(engine)
    prune_all(engine)
    assert [row["settled"] for row in client.bill("spring")] == [7]
    aged.ended(engine, price=Decimal(3), batch="spring", days=1)
    assert [row["settled"] for row in client.bill("spring")] == [3]
    assert [row["settled"] for row in client.bill()] == [10]
    with pytest.raises(NoSuchBatchError):
        client.bill("never")


def test_two_who_prune_at_once_take_turns(engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.client.leaving._TRIES", 2)
    aged.ended(engine)
    kept = settings.model_copy(update={"retention": "succeeded=90d"})
    with transaction(engine) as first, Client(settings=kept) as second:
        assert pruning.take_turn(first)
        with transaction(engine) as other:
            assert not pruning.take_turn(other)
        with pytest.raises(BusyError):
            second.prune()
    assert counts(engine)["job"] == 1


def test_a_worker_prunes_by_its_settings(engine: Engine, runtime: Runtime) -> None:
    for _ in range(3):
        aged.ended(engine)
    aged.ended(engine, days=5)
    on_loop(runtime, partial(prune, runtime, EVERYTHING, breath_seconds=0))
    assert counts(engine)["job"] == 1


def run(database_url: str, retention: str, *arguments: str) -> Ran:
    env = {"GENQUEUE_DATABASE_URL": database_url, "GENQUEUE_RETENTION": retention, "COLUMNS": "100"}
    return genqueue("prune", *arguments, env=env)


def test_the_dry_run_shows_counts_by_state_and_age_and_the_oldest_that_stays_and_why(
    engine: Engine, database_url: str
) -> None:
    aged.ended(engine, "bought", batch="spring")
    _lost_and_given_up(engine)
    aged.ended(engine, "cancelled", days=20)
    before = held.everything(engine)
    ran = run(database_url, "succeeded=90d,failed=90d,cancelled=90d", "--dry-run")
    assert ran.code == 0
    assert held.everything(engine) == before
    shown = [line.split() for line in ran.out.splitlines()]
    assert ["succeeded", "1", "400", "d", "leaves"] in shown
    assert ["failed", "1", "100", "d", "stays"] in shown
    assert ["cancelled", "1", "20", "d", "stays:", "kept", "for", "90", "days"] in shown
    (job,) = rows.rows(engine, "SELECT custom_id FROM job WHERE state = 'failed'")
    assert f"1 failed stay, the oldest b/{job.custom_id}: a call of it has no known end" in ran.out


def test_prune_does_now_what_the_dry_run_shows_and_says_what_left(engine: Engine, database_url: str) -> None:
    aged.ended(engine, "bought")
    ran = run(database_url, "succeeded=90d")
    assert (ran.code, ran.err) == (0, "left: 1 succeeded; 0 empty batches\n")
    assert counts(engine) == dict.fromkeys(TABLES, 0)


def test_without_the_setting_nothing_leaves_and_the_command_says_so(engine: Engine, database_url: str) -> None:
    aged.ended(engine)
    ran = run(database_url, "")
    assert (ran.code, ran.err) == (2, "error: GENQUEUE_RETENTION is not set: every job is kept\n")
    assert "succeeded" in run(database_url, "", "--dry-run").out
    assert counts(engine)["job"] == 1


def test_what_cannot_be_read_as_a_retention_is_refused_by_name(database_url: str, tmp_path: Path) -> None:
    for wrong in ("succeeded", "succeeded=0d", "pending=3d", "failed=3d,failed=4d", "failed=3h"):
        ran = run(database_url, wrong, "--dry-run")
        assert ran.code == 1
        assert "GENQUEUE_RETENTION: is not like succeeded=90d" in ran.err
