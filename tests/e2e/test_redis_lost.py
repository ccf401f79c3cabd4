"""The broker dies, freezes or forgets everything: workers live on, and nothing is paid twice."""

import signal
import time

from pydantic import SecretStr

from shared.broker import create_app
from shared.db.jobs.transitions import Claim
from shared.ids import new_id
from shared.lifecycle import Stage
from tests.e2e.site import Site, delete_redis_data
from worker.claiming import Parcel
from worker.tasks import publisher

# A message that was lost with Redis is only missed when its lease ends.
LEASES = 120


def all_paid_once_and_stored(site: Site, batch: str, jobs: int) -> None:
    assert site.await_settled(batch, LEASES) == {"succeeded": jobs}
    assert set(site.times_paid().values()) == {1}
    assert site.accepted() == jobs
    assert len(site.stored(batch)) == jobs


def test_workers_survive_a_redis_killed_three_times_and_the_batch_finishes(site: Site) -> None:
    before = site.pids()
    jobs = site.enqueue("redis-killed", getimg=30, bloom=30)
    for progress in (8, 20, 35):
        site.await_paid(progress)
        site.stack.kill("redis")
        site.stack.restart("redis")
    all_paid_once_and_stored(site, "redis-killed", jobs)
    assert site.pids() == before


def test_a_redis_that_forgets_everything_costs_no_job(site: Site) -> None:
    before = site.pids()
    jobs = site.enqueue("redis-wiped", getimg=30, bloom=30)
    for progress in (6, 18):
        site.await_paid(progress)
        with site.redis() as client:
            client.flushall()
    site.await_paid(30)
    site.stack.kill("redis")
    delete_redis_data(site.stack.home.path)
    site.stack.restart("redis")
    all_paid_once_and_stored(site, "redis-wiped", jobs)
    assert site.pids() == before


def test_a_frozen_redis_holds_up_neither_a_publisher_nor_a_worker_told_to_stop(site: Site) -> None:
    publish = publisher(create_app(SecretStr(site.stack.endpoints.broker_url)))
    parcel = Parcel(Stage.RECONCILE, "nobody", (Claim(new_id(), 1),))
    publish(parcel)
    site.enqueue("redis-frozen", getimg=12)
    site.await_paid(4)
    worker = site.stack._children["worker-1"].process
    site.stack.kill("redis", signal.SIGSTOP)
    try:
        worker.send(signal.SIGTERM)
        assert seconds_until_refused(publish, parcel) < 10
        assert seconds_until_refused(publish, parcel) < 0.1
        assert worker.wait(40) == 0
    finally:
        site.stack.kill("redis", signal.SIGCONT)
    all_paid_once_and_stored(site, "redis-frozen", 12)


def seconds_until_refused(publish: object, parcel: Parcel) -> float:
    assert callable(publish)
    began = time.monotonic()
    try:
        publish(parcel)
    except Exception:  # noqa: BLE001 - whatever the broker's client raises
        return time.monotonic() - began
    raise AssertionError("a frozen Redis took a message")
