"""Workers are stopped, in order or in their tracks: what is in the air is finished, and what is late is not sent."""

import signal
from functools import partial

import pytest

from tests.chaos import orders, verdict
from tests.chaos.evidence import gather
from tests.chaos.ground import ChaosSite
from tests.chaos.plan import WORKERS

_JOBS = 80
_WORKERS = WORKERS[:2]


@pytest.fixture
def site(ground: ChaosSite) -> ChaosSite:
    """The ground with two workers in order; those that a test leaves alive serve the next."""
    ground.simulator.put_faults({})
    ground.points.disarm()
    for name in _WORKERS:
        if name not in ground.workers:
            ground.start_worker(name)
    # The workers of an earlier test count as ticking for a while after they died.
    ground.until(lambda: {ground.sender(pid) for pid in ground.pids().values()} <= ticking(ground), 60)
    return ground


def ticking(site: ChaosSite) -> set[object]:
    return {row["name"] for row in site.client.workers()}


def has_accepted(site: ChaosSite, count: int) -> bool:
    return site.accepted() >= count


def is_another_process(site: ChaosSite, name: str, pid: int) -> bool:
    return site.process(name).pid != pid


def test_a_rolling_restart_under_load_leaves_not_one_job_in_doubt(site: ChaosSite) -> None:
    site.client.enqueue(orders.many(_JOBS, "roll"), batch="rolling")
    before = site.accepted()
    for share, name in enumerate(_WORKERS, 1):
        site.until(partial(has_accepted, site, before + share * 15))
        stopped = site.process(name)
        stopped.send(signal.SIGTERM)
        assert stopped.wait(30) == 0
        site.forgive()
        site.until(partial(is_another_process, site, name, stopped.pid))
    site.await_settled("rolling", 90)
    found = gather(site, "rolling")
    assert verdict.faults(found) == []
    assert [job.custom_id for job in found.jobs if job.state == "in_doubt"] == []
    assert site.events("rolling", "sender_lost") == 0


def test_a_sender_frozen_before_its_first_byte_for_longer_than_its_lease_sends_nothing_and_says_so(
    site: ChaosSite,
) -> None:
    site.points.arm("before_post", "getimg", how="stop")
    site.client.enqueue([orders.one("getimg", "frozen-getimg")], batch="frozen")
    site.until(lambda: [fired for fired in site.points.fired() if fired[:2] == ("before_post", "getimg")])
    (frozen,) = (pid for gap, subject, pid in site.points.fired() if (gap, subject) == ("before_post", "getimg"))
    (name,) = (name for name in _WORKERS if site.process(name).pid == frozen)
    # Another of its threads may stand still in a transaction: PostgreSQL ends that after half a minute.
    site.until(lambda: site.client.totals("frozen") == {"in_doubt": 1}, 90)
    site.process(name).send(signal.SIGCONT)
    site.until(lambda: site.client.totals("frozen") == {"succeeded": 1}, 60)
    found = gather(site, "frozen")
    assert verdict.faults(found) == []
    assert [outcome for _, outcome, _ in found.submissions.values()] == ["not_sent", "accepted"]
    assert len(found.posts["frozen-getimg"]) == 1
    assert len(found.charges["frozen-getimg"]) == 1
