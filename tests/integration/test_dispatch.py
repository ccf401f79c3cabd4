"""Dispatch: limits that hold however many dispatchers tick, and messages that may be lost or doubled."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.account_settings import RateWindow
from shared.db import accounts, pauses
from shared.db.engine import Engine, transaction
from shared.lifecycle import ImageState, Stage
from shared.settings import Settings
from tests.support import rows
from tests.support.drain import drain, run_stage, runtime_for
from tests.support.image_host import Answer, serving_images
from tests.support.outcome import BLOOM, GETIMG, ended, ends, paid, paid_posts
from worker.claiming import Parcel
from worker.dispatch import Dispatcher
from worker.runtime import Runtime

Workers = Callable[[int], list[Runtime]]


@pytest.fixture
def workers(settings: Settings, endpoints: Endpoints) -> Iterator[Workers]:
    with ExitStack() as stack:
        yield lambda count: [stack.enter_context(runtime_for(settings, endpoints)) for _ in range(count)]


def limit(runtime: Runtime, name: str, *, concurrency: int | None = None, windows: tuple[RateWindow, ...] = ()) -> None:
    account = runtime.accounts[name]
    changed = account.settings.model_copy(update={"concurrency": concurrency, "limits": windows})
    runtime.accounts[name] = replace(account, settings=changed)


def dispatcher(runtime: Runtime, parcels: list[Parcel]) -> Dispatcher:
    made = Dispatcher(runtime, parcels.append, parcels.append)
    made._register()
    return made


def tick(runtime: Runtime) -> list[Parcel]:
    parcels: list[Parcel] = []
    dispatcher(runtime, parcels).tick()
    return parcels


def test_dispatchers_that_tick_together_never_claim_more_than_the_concurrency(client: Client, workers: Workers) -> None:
    client.enqueue([GETIMG] * 40, batch="b")
    runtimes, parcels = workers(4), list[Parcel]()
    for runtime in runtimes:
        limit(runtime, "getimg", concurrency=7)
    loops = [dispatcher(runtime, parcels) for runtime in runtimes]
    meet = threading.Barrier(4)

    def run(loop: Dispatcher) -> None:
        for _ in range(5):
            meet.wait(10)
            loop.tick()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, loops))
    claimed = [claim.job_id for parcel in parcels for claim in parcel.claims]
    assert len(claimed) == len(set(claimed)) == 7


def test_three_workers_keep_the_concurrency_at_the_provider_and_pay_each_job_once(
    client: Client, workers: Workers, simulated: Simulator
) -> None:
    client.enqueue([GETIMG] * 30, batch="b")
    runtimes = workers(3)
    for runtime in runtimes:
        limit(runtime, "getimg", concurrency=5)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda runtime: drain(runtime, ended(client)), runtimes))
    assert client.totals("b") == {"succeeded": 30}
    assert paid(simulated) == paid_posts(simulated) == 30
    account = next(row for row in simulated.world.accounts.all() if row.key == "sim-test")
    assert account.highest_in_flight <= 5


def test_three_workers_never_exceed_a_sliding_window(
    client: Client, workers: Workers, simulated: Simulator, engine: Engine
) -> None:
    client.enqueue([GETIMG] * 14, batch="b")
    runtimes = workers(3)
    for runtime in runtimes:
        limit(runtime, "getimg", concurrency=20, windows=(RateWindow(requests=6, seconds=1.0),))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda runtime: drain(runtime, ended(client)), runtimes))
    assert client.totals("b") == {"succeeded": 14}
    (most,) = rows.rows(
        engine,
        """SELECT max(n) AS n FROM (SELECT count(*) OVER (ORDER BY taken_at
             RANGE BETWEEN CURRENT ROW AND interval '1 second' FOLLOWING) AS n FROM request_slot) s""",
    )
    assert most.n == 6
    # A request reaches the provider later than its slot was taken, by however long this machine was busy, never before.
    taken = rows.rows(engine, "SELECT extract(epoch FROM taken_at) AS at FROM request_slot ORDER BY 1")
    sent = sorted(entry["time"] for entry in simulated.requests(route="submit"))
    assert len(sent) == len(taken) == 14
    assert all(request >= float(slot.at) for slot, request in zip(taken, sent, strict=True))


def test_a_paused_account_starts_nothing_and_a_waiting_one_neither(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    client.enqueue([BLOOM, GETIMG], batch="b")
    tick_first = dispatcher(runtime, [])
    assert tick_first is not None
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="x", reason="y", action_url=None)
        accounts.slow_down(connection, "getimg", 60)
    assert tick(runtime) == []
    with transaction(engine) as connection:
        pauses.resume(connection, "bloom")
        pauses.resume(connection, "getimg")
    assert {parcel.account for parcel in tick(runtime)} == {"bloom", "getimg"}


def test_a_queued_job_past_its_deadline_ends_whether_or_not_a_worker_has_its_key(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    client.enqueue([{**BLOOM, "custom_id": "known"}, {**GETIMG, "custom_id": "no key"}], batch="b")
    del runtime.accounts["getimg"]
    rows.rows(engine, "UPDATE job SET deadline_at = now()")
    assert tick(runtime) == []
    assert ends(client) == {
        "known": ("failed", "deadline_exceeded"),
        "no key": ("failed", "deadline_exceeded"),
    }


def test_a_bought_job_that_no_worker_has_the_key_for_ends_long_after_its_last_bound(
    runtime: Runtime, engine: Engine
) -> None:
    rows.transferring(engine, ImageState.READY)
    del runtime.accounts["bloom"]
    rows.rows(engine, "UPDATE job SET collect_until = now() - interval '50 minutes'")
    tick(runtime)
    assert rows.states(engine) == {"transferring": 1}
    rows.rows(engine, "UPDATE job SET collect_until = now() - interval '2 hours'")
    tick(runtime)
    assert rows.rows(engine, "SELECT state, error_code FROM job") == [("failed", "never_finished")]
    assert rows.rows(engine, "SELECT state, error_code FROM image") == [("failed", "never_finished")]


def test_a_message_delivered_twice_pays_once(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    client.enqueue([BLOOM, GETIMG], batch="b")
    parcels = [parcel for parcel in tick(runtime) if parcel.stage is Stage.SUBMIT]
    run_stage(runtime, *parcels, *parcels, *parcels)
    run_stage(runtime, *parcels)
    assert paid(simulated) == paid_posts(simulated) == 2
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 2}
    assert paid_posts(simulated) == 2


def test_every_message_doubled_on_the_whole_road_pays_once(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{**BLOOM, "n": 2}, GETIMG, GETIMG], batch="b")
    parcels: list[Parcel] = []

    def publish(parcel: Parcel) -> None:
        parcels.extend([parcel, parcel])

    loop = Dispatcher(runtime, publish, publish)
    loop._register()
    for _ in range(200):
        loop.tick()
        taken, parcels[:] = list(parcels), []
        run_stage(runtime, *taken)
        if ended(client)():
            break
    assert client.totals("b") == {"succeeded": 3}
    assert paid_posts(simulated) == 3


def test_a_lost_message_costs_its_lease_and_no_job(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    client.enqueue([BLOOM, GETIMG], batch="b")
    lost: set[tuple[Stage, str]] = set()

    def lose_the_first(parcel: Parcel) -> None:
        if (parcel.stage, parcel.account) not in lost:
            lost.add((parcel.stage, parcel.account))
            rows.rows(engine, "UPDATE job SET due_at = now() WHERE id = :id", id=parcel.claims[0].job_id)
            raise LookupError

    drain(runtime, ended(client), seen=lose_the_first)
    assert client.totals("b") == {"succeeded": 2}
    # No message is needed to copy: the worker that saw the link does it.
    assert {stage for stage, _ in lost} == {Stage.SUBMIT, Stage.POLL}
    assert paid_posts(simulated) == 2


def test_a_lost_message_to_copy_costs_its_lease_and_no_job(client: Client, runtime: Runtime, engine: Engine) -> None:
    with serving_images(Answer()) as host:
        claim = rows.transferring(engine, link=f"{host.url}/1")
        lost: list[Parcel] = []

        def lose_the_first(parcel: Parcel) -> None:
            if not lost:
                lost.append(parcel)
                rows.rows(engine, "UPDATE job SET due_at = now() WHERE id = :id", id=claim.job_id)
                raise LookupError

        drain(runtime, lambda: rows.states(engine) == {"succeeded": 1}, seen=lose_the_first)
    assert [parcel.stage for parcel in lost] == [Stage.TRANSFER]


def test_a_broker_that_is_away_gets_nothing_claimed_for_long_and_urgent_transfers_run_here(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    client.enqueue([GETIMG], batch="b")
    rows.transferring(engine)
    here: list[Parcel] = []

    def away(_parcel: Parcel) -> None:
        raise OSError("no broker")

    loop = Dispatcher(runtime, away, here.append)
    loop._register()
    loop.tick()
    assert [parcel.stage for parcel in here] == [Stage.TRANSFER]
    (job,) = rows.rows(
        engine, "SELECT claimed_by, due_at < now() + interval '5 s' AS soon FROM job WHERE account = 'getimg'"
    )
    assert (job.claimed_by, job.soon) == (None, True)


def test_a_publish_that_failed_only_in_appearance_leaves_the_call_in_its_senders_hand(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    client.enqueue([BLOOM], batch="b")

    def took_it_all_the_same(parcel: Parcel) -> None:
        rows.open_intents(engine, parcel.claims)
        raise OSError("no confirmation")

    loop = Dispatcher(runtime, took_it_all_the_same, took_it_all_the_same)
    loop._register()
    loop.tick()
    (job,) = rows.rows(engine, "SELECT state, claimed_by, due_at <= now() + interval '5 s' AS due FROM job")
    assert job == ("submitting", rows.SENDER.name, False)


def test_payments_of_all_accounts_share_half_of_the_slots(client: Client, runtime: Runtime, engine: Engine) -> None:
    client.enqueue(
        [{**row, "custom_id": f"{row['provider']}{n}"} for n in range(200) for row in (BLOOM, GETIMG)], batch="b"
    )
    for name in ("bloom", "getimg"):
        limit(runtime, name, concurrency=1000)
    parcels = [parcel for parcel in tick(runtime) if parcel.stage is Stage.SUBMIT]
    assert {parcel.account for parcel in parcels} == {"bloom", "getimg"}
    assert len(parcels) <= runtime.settings.worker_slots // 2 + 1
    assert rows.states(engine) == {"queued": 400}
