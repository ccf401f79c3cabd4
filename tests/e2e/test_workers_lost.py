"""Workers are killed, frozen and stopped in the middle of their work."""

import random
import signal
from typing import Any

from tests.e2e.site import Site

SEED = 20
WAITING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'genqueue worker' AND wait_event_type = 'Lock'"
CUT_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'genqueue worker' AND wait_event_type = 'Lock'
"""


def states(site: Site, batch: str) -> dict[str, Any]:
    return {row["custom_id"]: (row["state"], row["error_code"]) for row in site.client.jobs(batch, limit=1000)}


def test_workers_killed_at_random_leave_every_job_done_or_held_and_none_paid_twice(site: Site) -> None:
    moments = random.Random(SEED)
    jobs = site.enqueue("workers-killed", getimg=50, bloom=30)
    progress = 0
    for _ in range(4):
        progress = min(progress + moments.randint(5, 14), jobs - 20)
        site.await_paid(progress)
        site.stack.kill(moments.choice(sorted(site.workers)))
        site.until(lambda: all(child.process.poll() is None for child in site.stack._children.values()))
    totals = site.await_settled("workers-killed", 150)
    assert set(totals) <= {"succeeded", "in_doubt"}
    assert {code for state, code in states(site, "workers-killed").values() if state == "in_doubt"} <= {"sender_lost"}
    assert set(site.times_paid().values()) == {1}
    assert totals["succeeded"] <= site.accepted() <= jobs
    assert len(site.stored("workers-killed")) == totals["succeeded"]


def test_workers_stopped_with_sigterm_end_in_order_and_leave_no_job_in_doubt(site: Site) -> None:
    jobs = site.enqueue("workers-stopped", getimg=40, bloom=30)
    site.await_paid(10)
    stopped = [site.stack._children[name].process for name in site.workers]
    for process in stopped:
        process.send(signal.SIGTERM)
    assert [process.wait(15) for process in stopped] == [0, 0]
    assert site.accepted() < jobs
    assert site.sql("SELECT count(*) FROM submission WHERE outcome IS NULL") == [(0,)]
    totals = site.await_settled("workers-stopped", 120)
    assert totals == {"succeeded": jobs}
    assert site.events("workers-stopped", "sender_lost") == 0
    assert set(site.times_paid().values()) == {1}
    assert site.accepted() == jobs


def test_a_worker_stopped_while_the_database_is_away_ends_once_its_answers_are_written(site: Site) -> None:
    site.enqueue("stopped-without-database", getimg=8)
    site.await_paid(4)
    site.stack.kill("postgres")
    stopped = site.stack._children["worker-1"].process
    stopped.send(signal.SIGTERM)
    site.stack.restart("postgres")
    assert stopped.wait(30) == 0
    assert site.await_settled("stopped-without-database", 120) == {"succeeded": 8}
    assert site.events("stopped-without-database", "sender_lost") == 0
    assert site.accepted() == 8


def test_a_worker_frozen_past_its_lease_moves_no_job_and_keeps_what_it_learned(empty_site: Site) -> None:
    site = empty_site
    site.simulator.put_faults([{"match": {"route": "submit"}, "fault": {"kind": "slow", "seconds": 20}}])
    frozen = site.start_worker("worker-1")
    site.enqueue("frozen", getimg=1)
    with site.connect() as holder:
        (submission,) = site.until(lambda: holder.execute("SELECT id FROM submission WHERE outcome IS NULL").fetchone())
        with holder.transaction():
            # The reply is in the worker's memory, and the row that takes it is held: now it freezes.
            holder.execute("SELECT 1 FROM submission WHERE id = %s FOR UPDATE", (submission,))
            site.until(lambda: site.sql(WAITING))
            frozen.send(signal.SIGSTOP)
            assert site.sql(CUT_OFF) == [(True,)]
    site.start_worker("worker-2")
    site.until(lambda: site.client.totals("frozen") == {"in_doubt": 1}, 60)
    assert site.events("frozen", "sender_lost") == 1
    frozen.send(signal.SIGCONT)
    assert site.until(lambda: site.client.totals("frozen") == {"succeeded": 1})
    outcomes = site.sql("SELECT outcome FROM submission WHERE id = %s", submission)
    assert outcomes == [("accepted",)]
    assert site.accepted() == 1
    assert len(site.stored("frozen")) == 1
    site.stop_workers()
