"""A message that names another account than its job's moves nothing and pays nothing, in any stage."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from ops.simulator import Simulator
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs import claims, images
from shared.db.jobs.transitions import Claim, Move, give_back, renew
from shared.db.payments import intents, submissions
from shared.ids import new_id
from shared.lifecycle import ImageState, JobState, Outcome, Stage
from tests.support import rows
from tests.support.drain import run_stage
from tests.support.outcome import BLOOM, paid_posts
from worker import event_loop
from worker.claiming import RELEASABLE, Parcel
from worker.process import WorkerProcess
from worker.runtime import Runtime
from worker.tasks import MalformedError, parcel_of

OTHERS = ["getimg", "nobody", "", "Bloom", "bloom "]
LOST = submissions.Answer(Outcome.UNKNOWN, error_code="answer_lost", error="lost")
JOB = "0192aaaa-0000-7000-8000-000000000000"


def queued(engine: Engine) -> Claim:
    rows.add(engine, [rows.new_job("a")])
    return rows.claim(engine)[0]


def polled(engine: Engine) -> Claim:
    intent = rows.one_intent(engine)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.PENDING, 0)
    assert rows.settle(engine, intent, rows.accepted(ImageState.PENDING), step)
    return rows.claim(engine, "poll")[0]


def ready(engine: Engine) -> Claim:
    rows.transferring(engine)
    return rows.claim(engine, "transfer")[0]


def doubtful(engine: Engine) -> Claim:
    intent = rows.one_intent(engine)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 0, code="answer_lost", note="lost")
    assert rows.settle(engine, intent, LOST, step)
    return rows.claim(engine, "reconcile")[0]


def unanswered(engine: Engine) -> Claim:
    rows.one_intent(engine, lease=0)
    return rows.claim(engine, "reconcile")[0]


STAGES: list[tuple[Stage, Callable[[Engine], Claim]]] = [
    (Stage.SUBMIT, queued),
    (Stage.POLL, polled),
    (Stage.TRANSFER, ready),
    (Stage.RECONCILE, doubtful),
    (Stage.RECONCILE, unanswered),
]
EACH = pytest.mark.parametrize(("stage", "made"), STAGES, ids=[made.__name__ for _, made in STAGES])


def everything(engine: Engine) -> Any:
    """Return every row that says what was bought and where the jobs stand."""
    tables = ("job", "submission", "image", "ledger", "job_event", "request_slot")
    return {table: rows.rows(engine, f"TABLE {table} ORDER BY 1, 2") for table in tables}


@pytest.mark.parametrize("account", OTHERS)
@EACH
def test_a_stage_under_another_account_changes_no_row_and_asks_nobody(
    stage: Stage, made: Callable[[Engine], Claim], account: str, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    parcel = Parcel(stage, account, (made(engine),))
    before = everything(engine)
    run_stage(runtime, parcel)
    assert everything(engine) == before
    assert paid_posts(simulated) == 0


@EACH
def test_only_the_jobs_own_account_takes_it_in_hand(
    stage: Stage, made: Callable[[Engine], Claim], engine: Engine
) -> None:
    claim = made(engine)

    def taken(account: str, *wanted: Claim) -> int:
        with transaction(engine) as connection:
            found = claims.begin(connection, account, wanted, states=RELEASABLE[stage], worker="w")
        return len(found.together) + len(found.suspects)

    assert [taken(account, claim) for account in OTHERS] == [0] * len(OTHERS)
    assert taken("bloom", Claim(claim.job_id, claim.epoch + 1)) == 0
    assert taken("bloom", claim) == 1


def test_no_statement_that_takes_claims_takes_those_of_another_account(engine: Engine) -> None:
    claim = queued(engine)
    rows.register(engine, rows.account_row("getimg"))
    before = everything(engine)
    with transaction(engine) as connection:
        terms = intents.PaymentTerms(
            price=lambda _request, _count: None,
            allow_unknown_price=True,
            send_within_seconds=1,
            lease_seconds=1,
            quiet_seconds=1,
        )
        wanted = {claim: new_id()}
        assert intents.open_intents(connection, "getimg", wanted, sender=rows.SENDER, terms=terms) == []
        intents.undo(connection, "getimg", wanted, note="lost", actor="a")
        give_back(connection, [claim], states=[JobState.QUEUED], account="getimg")
        assert not renew(connection, claim, lease_seconds=9, account="getimg")
        assert submissions.lock_claimed(connection, "getimg", claim) is None
    assert everything(engine) == before


def test_another_accounts_pictures_are_not_shown(engine: Engine) -> None:
    claim, copied = ready(engine), [JobState.TRANSFERRING]
    with transaction(engine) as connection:
        assert images.of_claims(connection, account="getimg", claims=[claim], states=copied) == []
        assert len(images.of_claims(connection, account="bloom", claims=[claim], states=copied)) == 1


def test_a_message_with_another_account_pays_nothing_and_is_counted_without_its_values(
    client: Client, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    client.enqueue([BLOOM], batch="b")
    claim = rows.claim(engine)[0]
    runtime.settings.accounts.clear()  # no dispatcher of this process takes it
    with capture_logs() as logs:
        event_loop.run(_begin_under, runtime, "getimg", claim)
    (told,) = [line for line in logs if line["event"] == "message_rejected"]
    assert (told["log_level"], told["jobs"], told["rejected"]) == ("warning", 1, 1)
    assert str(claim.job_id) not in str(told)
    assert paid_posts(simulated) == 0
    assert rows.job(engine, claim.job_id).state == "queued"


async def _begin_under(runtime: Runtime, account: str, claim: Claim) -> None:
    process = WorkerProcess(runtime, lambda _parcel: None)
    async with anyio.create_task_group() as group:
        runtime.start(group)
        await process._work(Parcel(Stage.SUBMIT, account, (claim,)))
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((), {}),
        (("bloom",), {}),
        (("bloom", [], 3), {}),
        (("bloom", []), {"extra": 1}),
        ((None, []), {}),
        ((["bloom"], []), {}),
        (("bloom", None), {}),
        (("bloom", {"a": 1}), {}),
        (("bloom", "ab"), {}),
        (("bloom", [JOB]), {}),
        (("bloom", [[JOB]]), {}),
        (("bloom", [[JOB, 1, 2]]), {}),
        (("bloom", [[JOB, "1"]]), {}),
        (("bloom", [[JOB, True]]), {}),
        (("bloom", [[JOB, -1]]), {}),
        (("bloom", [[JOB, 2**31]]), {}),
        (("bloom", [[JOB, 1.0]]), {}),
        (("bloom", [[1, 1]]), {}),
        (("bloom", [["no uuid", 1]]), {}),
        (("bloom", [[JOB, 1]] * 100_000), {}),
    ],
)
def test_arguments_that_no_dispatcher_sends_are_refused_without_being_quoted(args: Any, options: Any) -> None:
    with pytest.raises(MalformedError) as refused:
        parcel_of(Stage.SUBMIT, *args, **options)
    assert "bloom" not in str(refused.value)
    assert JOB not in str(refused.value)


def test_a_whole_parcel_is_read_as_it_was_sent() -> None:
    found = parcel_of(Stage.POLL, "bloom", [[JOB, 0], [JOB, 7]])
    assert (found.stage, found.account, [claim.epoch for claim in found.claims]) == (Stage.POLL, "bloom", [0, 7])
