"""Poison: a job that ends its workers is left alone with them, then ended; its neighbours are not counted for it."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db import workers
from shared.db.engine import Engine, transaction
from shared.db.jobs import claims
from shared.db.jobs.cancel import cancel
from shared.db.jobs.transitions import Claim, Move, give_back, move
from shared.lifecycle import ImageState, JobState, Stage
from shared.settings import Settings
from tests.support import rows
from tests.support.drain import drain, run_stage, settings_for
from tests.support.living import living
from tests.support.outcome import GETIMG, paid
from worker import event_loop
from worker.claiming import Parcel
from worker.dispatch import Dispatcher
from worker.process import WorkerProcess
from worker.runtime import Runtime
from worker.stages.poison import end_poison

CRASHES = 3
QUEUED = [JobState.QUEUED]
TRANSFERRING = [JobState.TRANSFERRING]
IN_DOUBT = [JobState.SUBMITTING, JobState.IN_DOUBT]


@pytest.fixture
def settings(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Settings:
    return settings_for(database_url, endpoints, simulated.url, crashes_before_poison=CRASHES)


def hand_out(runtime: Runtime, stage: str, count: int = 9) -> list[Claim]:
    """Claim as the dispatcher does: what is poison ends, the rest is for workers."""
    with transaction(runtime.engine) as connection:
        found = claims.claim(connection, Stage(stage), "bloom", count=count, worker="dead", lease_seconds=60)
        return [*found.together, *end_poison(connection, runtime, found.suspects)]


def begin(engine: Engine, found: Sequence[Claim], worker: str, states: list[JobState]) -> list[Claim]:
    with transaction(engine) as connection:
        taken = claims.begin(connection, "bloom", found, states=states, worker=worker)
    return [*taken.together, *(suspect.claim for suspect in taken.suspects)]


def die(engine: Engine, worker: str = "dead") -> None:
    """Bury a worker as its peers do, some time after its death."""
    with transaction(engine) as connection:
        workers.heartbeat(connection, name=worker, lock_key=99, slots=4)
    rows.rows(engine, "UPDATE worker SET last_tick_at = now() - interval '1 minute' WHERE name = :name", name=worker)
    with transaction(engine) as connection:
        workers.free_claims_of_dead(connection, "me")


def forget(engine: Engine) -> None:
    """Let the leases of a dead worker end before anybody notices its death."""
    rows.rows(engine, "UPDATE job SET due_at = now() - interval '1 second' WHERE due_at IS NOT NULL")


def crash(runtime: Runtime, stage: str, states: list[JobState], notice: Callable[[Engine], None] = die) -> int:
    """Have worker after worker begin what is due, and die over it, until nothing is; return how many died."""
    for deaths in range(10):
        found = hand_out(runtime, stage)
        if not found:
            return deaths
        assert begin(runtime.engine, found, "dead", states)
        notice(runtime.engine)
    raise AssertionError("it went on for ever")


def crashes(engine: Engine) -> dict[str, int]:
    return {row.custom_id: row.crashes for row in rows.rows(engine, "SELECT custom_id, crashes FROM job")}


@pytest.fixture
def three(engine: Engine) -> Engine:
    rows.add(engine, [rows.new_job(name) for name in ("a", "b", "c")])
    return engine


def test_a_crash_in_company_counts_for_nobody_but_has_its_jobs_run_alone(three: Engine) -> None:
    begin(three, rows.claim(three, count=3), "dead", QUEUED)
    die(three)
    with transaction(three) as connection:
        found = claims.claim(connection, Stage.SUBMIT, "bloom", count=3, worker="next", lease_seconds=60)
    assert (len(found.together), [suspect.crashes for suspect in found.suspects]) == (0, [1, 1, 1])
    begin(three, [found.suspects[0].claim], "dead", QUEUED)
    die(three)
    assert sorted(crashes(three).values()) == [1, 1, 2]


def test_what_was_claimed_and_not_begun_is_not_suspected(three: Engine) -> None:
    rows.claim(three, count=3, worker="dead")
    die(three)
    assert set(crashes(three).values()) == {0}
    assert len(rows.claim(three, count=3)) == 3


def test_what_was_given_back_is_not_suspected(three: Engine) -> None:
    found = rows.claim(three, count=3)
    begin(three, found, "dead", QUEUED)
    with transaction(three) as connection:
        give_back(connection, found, states=QUEUED)
    die(three)
    rows.claim(three, count=3)
    assert set(crashes(three).values()) == {0}


def test_a_job_that_moves_on_is_no_suspect_any_more(engine: Engine) -> None:
    claim = rows.transferring(engine)
    begin(engine, rows.claim(engine, "transfer"), "dead", TRANSFERRING)
    die(engine)
    (again,) = rows.claim(engine, "transfer")
    assert rows.job(engine, claim.job_id).crashes == 1
    with transaction(engine) as connection:
        move(connection, [Move(again, JobState.TRANSFERRING, JobState.TRANSFERRING, 0)], actor="me")
    assert rows.job(engine, claim.job_id).crashes == 0


@pytest.mark.parametrize(("done", "left"), [(False, 1), (True, 0)])
def test_a_look_that_was_done_clears_a_job_in_doubt_and_mere_giving_back_does_not(
    *, engine: Engine, done: bool, left: int
) -> None:
    claim = rows.transferring(engine)
    rows.rows(engine, "UPDATE job SET state = 'in_doubt', error_code = 'answer_lost', due_at = now()")
    begin(engine, rows.claim(engine, "reconcile"), "dead", IN_DOUBT)
    die(engine)
    (again,) = rows.claim(engine, "reconcile")
    with transaction(engine) as connection:
        give_back(connection, [again], states=IN_DOUBT, done=done)
    assert rows.job(engine, claim.job_id).crashes == left


def test_a_doubt_that_is_looked_at_again_and_again_is_not_poison(engine: Engine, runtime: Runtime) -> None:
    """Each look is done but one in between ends its worker, which others may have killed."""
    intent = rows.one_intent(engine, lease=0)
    run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", tuple(rows.claim(engine, "reconcile"))))
    for _ in range(claims.NOT_YET_ITS_OWN + CRASHES + 1):
        rows.rows(engine, "UPDATE job SET due_at = now()")
        begin(engine, hand_out(runtime, "reconcile"), "dead", IN_DOUBT)
        die(engine)
        run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", tuple(hand_out(runtime, "reconcile"))))
    job = rows.job(engine, intent.claim.job_id)
    assert (job.state, job.error_code, job.crashes) == ("in_doubt", "sender_lost", 0)


@pytest.mark.parametrize("notice", [die, forget])
def test_a_job_that_ends_worker_after_worker_alone_ends_itself(
    notice: Callable[[Engine], None], engine: Engine, runtime: Runtime
) -> None:
    claim = rows.transferring(engine, ImageState.READY)
    deaths = crash(runtime, "transfer", TRANSFERRING, notice)
    job = rows.job(engine, claim.job_id)
    assert (job.state, job.error_code) == ("failed", "poison")
    assert deaths == claims.NOT_YET_ITS_OWN + CRASHES
    assert f"{deaths} workers died" in job.error
    assert rows.rows(engine, "SELECT state, error_code FROM image") == [("failed", "never_finished")]
    assert rows.rows(engine, "SELECT sum(settled), sum(held) FROM ledger") == [(2, 0)]


def test_a_job_that_was_never_bought_ends_as_poison_for_nothing(engine: Engine, runtime: Runtime) -> None:
    rows.add(engine, [rows.new_job("a")])
    crash(runtime, "submit", QUEUED)
    assert rows.rows(engine, "SELECT state, error_code FROM job") == [("failed", "poison")]
    assert rows.rows(engine, "SELECT count(*) FROM submission") == [(0,)]


def test_a_poisonous_job_whose_payment_is_open_is_held_in_doubt(engine: Engine, runtime: Runtime) -> None:
    intent = rows.one_intent(engine)
    forget(engine)
    crash(runtime, "reconcile", IN_DOUBT)
    job = rows.job(engine, intent.claim.job_id)
    assert (job.state, job.error_code, job.on_hold) == ("in_doubt", "poison", True)
    assert rows.rows(engine, "SELECT outcome FROM submission") == [("unknown",)]
    assert rows.rows(engine, "SELECT sum(reserved), sum(held) FROM ledger") == [(0, 2)]


def test_a_poisonous_job_in_doubt_is_held_and_its_pictures_are_not_given_up(engine: Engine, runtime: Runtime) -> None:
    claim = rows.transferring(engine, ImageState.READY)
    rows.rows(engine, "UPDATE job SET state = 'in_doubt', error_code = 'answer_lost', due_at = now()")
    crash(runtime, "reconcile", IN_DOUBT)
    job = rows.job(engine, claim.job_id)
    assert (job.state, job.error_code, job.on_hold) == ("in_doubt", "poison", True)
    assert rows.rows(engine, "SELECT state FROM image") == [("ready",)]


def test_a_cancelled_job_that_is_poison_ends_cancelled(engine: Engine, runtime: Runtime) -> None:
    claim = rows.transferring(engine, ImageState.READY)
    with transaction(engine) as connection:
        assert cancel(connection, job=claim.job_id, actor="person").followed == 1
    crash(runtime, "transfer", TRANSFERRING)
    assert rows.job(engine, claim.job_id).state == "cancelled"


def test_a_job_that_kills_whoever_pays_for_it_is_held_by_the_first_look(engine: Engine, runtime: Runtime) -> None:
    intent = rows.one_intent(engine)
    rows.rows(engine, "UPDATE job SET begun_together = 1, claimed_by = 'dead'")
    die(engine)
    drain(runtime, lambda: rows.states(engine) == {"in_doubt": 1})
    assert rows.job(engine, intent.claim.job_id).error_code == "sender_lost"


def test_a_message_that_comes_twice_begins_nothing_twice(three: Engine) -> None:
    found = rows.claim(three, count=3, worker="dispatcher")
    assert len(begin(three, found, "one", QUEUED)) == 3
    assert begin(three, found, "two", QUEUED) == []
    assert {row.claimed_by for row in rows.rows(three, "SELECT claimed_by FROM job")} == {"one"}


def test_a_message_that_was_taken_back_or_is_too_late_begins_nothing(three: Engine) -> None:
    back, late, other = ([claim] for claim in rows.claim(three, count=3))
    rows.rows(three, "UPDATE job SET claimed_by = NULL WHERE id = :id", id=back[0].job_id)
    rows.rows(three, "UPDATE job SET due_at = now() WHERE id = :id", id=late[0].job_id)
    assert begin(three, back, "me", QUEUED) == []
    assert begin(three, late, "me", QUEUED) == []
    assert begin(three, other, "me", [JobState.PENDING]) == []
    assert begin(three, [Claim(other[0].job_id, other[0].epoch - 1)], "me", QUEUED) == []
    assert len(begin(three, other, "me", QUEUED)) == 1


def test_jobs_over_which_two_workers_died_run_one_at_a_time_and_all_succeed(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([GETIMG] * 5, batch="b")
    rows.rows(runtime.engine, "UPDATE job SET crashes = 2")
    with living(runtime):
        assert client.wait("b", timeout_seconds=30) == {"succeeded": 5}
    account = simulated.world.accounts.find("getimg", "sim-test")
    assert account is not None
    assert account.highest_in_flight == 1
    assert paid(simulated) == 5


def test_a_doubled_message_pays_once(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    client.enqueue([GETIMG] * 4, batch="b")
    parcels: list[Parcel] = []
    dispatcher = Dispatcher(runtime, parcels.append, parcels.append)
    dispatcher._register()
    dispatcher.tick()
    assert sum(len(parcel.claims) for parcel in parcels) == 4
    process: Any
    with living(runtime) as process:
        twice_at_once(process, parcels)
        assert client.wait("b", timeout_seconds=30) == {"succeeded": 4}
    assert paid(simulated) == 4


def twice_at_once(process: WorkerProcess, parcels: list[Parcel]) -> None:
    async def deliver() -> None:
        async with anyio.create_task_group() as group:
            for parcel in [*parcels, *parcels]:
                assert parcel.stage is Stage.SUBMIT
                group.start_soon(anyio.to_thread.run_sync, process.run, parcel)

    event_loop.run(deliver)
