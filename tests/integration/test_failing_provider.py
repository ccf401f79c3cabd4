"""A provider that answers 5xx: after three in a row one call at a time finds out, and costs no job its resends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db import pauses
from shared.db.engine import Engine, transaction
from shared.db.lost_calls import lost_calls
from shared.db.pauses import FailuresInARow
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import Outcome
from tests.support import rows
from tests.support.drain import BRAND, runtime_for, settings_for
from tests.support.living import living
from tests.support.outcome import BLOOM, paid, paid_posts
from tests.support.waiting import until

LOOK: Final = 0.3
FAILS: Final = {
    "match": {"provider": "bloom", "route": "submit"},
    "fault": {"kind": "error_5xx", "status": 503},
    "times": None,
}


@contextmanager
def working(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Client]:
    """Run a worker whose one account buys one picture at a time."""
    bloom = {
        "provider": "bloom",
        "api_key": "sim-test",
        "base_url": f"{simulated.url}/bloom/api/v1",
        "brand_session_id": BRAND,
        "limits": "none",
        "timeout_seconds": 5,
        "quiet_seconds": 0.2,
        "concurrency": 1,
    }
    often = {"probe_first_seconds": LOOK, "probe_max_seconds": LOOK, "failures_before_pause": 3}
    given: dict[str, Any] = {**often, "accounts": {"bloom": bloom}}
    settings = settings_for(database_url, endpoints, simulated.url, **given)
    with runtime_for(settings, endpoints) as runtime, living(runtime), Client(settings=settings) as client:
        yield client


def test_after_three_answers_5xx_the_account_pauses_and_no_more_jobs_come_into_doubt_than_looks_are_taken(
    database_url: str, endpoints: Endpoints, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults([FAILS])
    with working(database_url, endpoints, simulated) as client:
        client.enqueue([BLOOM] * 12, batch="b", on_unknown="resend")
        until(lambda: paid_posts(simulated) >= 5)
        probes = rows.rows(engine, "SELECT count(*) AS sent FROM submission WHERE probe")[0].sent
        assert paid_posts(simulated) - probes == 3
        (account,) = client.accounts()
        assert account["paused_code"] in {"provider_failing", None}
        simulated.put_faults([])
        # Not `wait`: a job that is held until the next purchase shows would end it.
        until(lambda: client.totals("b") == {"succeeded": 12}, 60)
    assert paid(simulated) == 12


def test_calls_that_find_out_whether_a_pause_is_over_spend_no_jobs_resends(engine: Engine) -> None:
    intent = rows.one_intent(engine)
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, Answer(Outcome.UNKNOWN, error_code="answer_lost"))
    earlier = """
INSERT INTO submission (id, job_id, epoch, batch_id, account, sender, sender_lock, opened_at, send_by, visible_by,
  outcome, error_code, http_status, probe, unit)
SELECT gen_random_uuid(), job_id, -:number, batch_id, account, sender, sender_lock, opened_at - interval '1 hour',
  send_by, visible_by, 'rejected', :code, :status, :probe, unit FROM submission WHERE id = :id
"""
    for number, (code, status, probe) in enumerate(
        [
            ("not_bought", None, True),
            ("not_bought", None, False),
            ("rate_limited", 429, False),
            ("provider_error", 200, False),
            ("rate_limited", 200, True),
        ],
        1,
    ):
        rows.rows(engine, earlier, number=number, code=code, status=status, probe=probe, id=intent.submission_id)
    with transaction(engine) as connection:
        lost_call = lost_calls.of_submission(connection, intent.submission_id, slack_seconds=0)
    assert lost_call is not None
    assert lost_call.resends == 2


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([True, True, True], FailuresInARow(3, 3)),
        ([True, True, False], FailuresInARow(3, 0)),
        ([False, True, True], FailuresInARow(3, 2)),
    ],
)
def test_only_answers_5xx_in_a_row_count_as_failing(
    engine: Engine, answers: list[bool], expected: FailuresInARow
) -> None:
    rows.register(engine, rows.account_row())
    with transaction(engine) as connection:
        counts = [pauses.count_failure(connection, "bloom", failing=failing) for failing in answers]
    assert counts[-1] == expected
    with transaction(engine) as connection:
        pauses.reset_failures(connection, "bloom", bought=False)
        assert pauses.count_failure(connection, "bloom", failing=True) == FailuresInARow(1, 1)
