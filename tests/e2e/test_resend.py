"""A sender that stands still between intent and payment: nobody sends in its place while it may still wake up."""

import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.site import STOP_SECONDS, Site
from tests.e2e.spawning import ROOT
from tests.support.waiting import gone

QUIET = {"GENQUEUE_BLOOM_QUIET_SECONDS": "0.5"}
OTHERS = 2  # the purchases before and after the lost call, without which its absence proves nothing


def start_stopping_worker(site: Site, name: str, file: Path) -> Any:
    """Start a worker that stops itself right before its first paid POST, and not again."""
    file.touch()
    environment = {**site.environment(), **QUIET}
    argv = [sys.executable, str(ROOT / "tests/e2e/stopping_worker.py"), str(file), "worker", "--name", name]
    site.workers[name] = site.stack.spawn(name, argv, environment, stop_seconds=STOP_SECONDS)
    return site.workers[name]


def stopped(process: Any) -> bool:
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def looks(site: Site, worker: str) -> int:
    """How often this worker found in the provider's list that nothing was bought."""
    return site.log(worker).count('"judgement": "NotBought"')


def look_again(site: Site, worker: str) -> None:
    before = looks(site, worker)
    site.sql("UPDATE job SET due_at = now() WHERE state = 'in_doubt'")
    site.until(lambda: looks(site, worker) > before)


def buy(site: Site, batch: str) -> None:
    site.client.enqueue([{"provider": "bloom", "prompt": batch}], batch=batch)
    site.until(lambda: site.client.totals(batch) == {"succeeded": 1}, 60)


def buy_earlier(site: Site, batch: str) -> None:
    """Buy a picture before the lost call: a list that shows it is known to go back to the call."""
    site.start_worker("worker-2", **QUIET)
    buy(site, f"{batch}, before")
    site.stop_workers()


def buy_later(site: Site, batch: str) -> None:
    """Buy a picture once the lost call is over: only a list that shows it proves that the call bought nothing."""
    over = "SELECT bool_and(s.visible_by < clock_timestamp()) FROM submission s JOIN batch b ON b.id = s.batch_id"
    site.until(lambda: site.sql(f"{over} WHERE b.name = %s", batch)[0][0], 60)
    buy(site, f"{batch}, later")


def submissions(site: Site, batch: str) -> list[Any]:
    question = "SELECT s.outcome, s.error_code FROM submission s JOIN batch b ON b.id = s.batch_id WHERE b.name = %s"
    return site.sql(f"{question} ORDER BY s.opened_at", batch)


@pytest.fixture
def judged(request: pytest.FixtureRequest, empty_site: Site, tmp_path: Path) -> tuple[Site, str, Any]:
    """A job whose sender stands still before its POST; another worker has judged twice that nothing was bought."""
    site, batch = empty_site, request.node.name
    # The simulator has forgotten what other tests bought: so near a lost call a list must show it, or proves nothing.
    site.sql("UPDATE submission SET opened_at = opened_at - interval '1 day', answered_at = now() - interval '1 day'")
    buy_earlier(site, batch)
    sender = start_stopping_worker(site, "stopping", tmp_path / "stop")
    rows = [{"provider": "bloom", "prompt": batch}]
    site.client.enqueue(rows, batch=batch, on_unknown="resend")
    site.until(lambda: stopped(sender), 60)
    site.start_worker("worker-2", **QUIET)
    site.until(lambda: submissions(site, batch) == [("unknown", "sender_lost")], 60)
    buy_later(site, batch)
    site.sql("UPDATE job SET due_at = now() WHERE state = 'in_doubt'")
    site.until(lambda: looks(site, "worker-2"), 60)
    look_again(site, "worker-2")
    return site, batch, sender


def test_while_a_stopped_sender_may_wake_up_nobody_sends_and_once_awake_it_does_not(
    judged: tuple[Site, str, Any],
) -> None:
    site, batch, sender = judged
    assert submissions(site, batch) == [("unknown", "sender_lost")]
    (job,) = site.client.jobs(batch)
    assert job["state"] == "in_doubt"
    assert "still runs" in job["error"]
    assert sum(site.simulator.counters()["paid_posts"].values()) == OTHERS
    sender.send(signal.SIGCONT)
    site.until(lambda: site.client.totals(batch) == {"succeeded": 1}, 60)
    first, second = submissions(site, batch)
    assert first[0] == "not_sent"
    assert second == ("accepted", None)
    assert sum(site.simulator.counters()["paid_posts"].values()) == site.accepted() == OTHERS + 1
    site.stop_workers()


def test_once_a_stopped_sender_is_dead_another_sends_in_its_place(judged: tuple[Site, str, Any]) -> None:
    site, batch, sender = judged
    process = psutil.Process(sender.pid)
    process.kill()
    site.until(lambda: gone(process))
    site.sql("UPDATE job SET due_at = now() WHERE state = 'in_doubt'")
    site.until(lambda: site.client.totals(batch) == {"succeeded": 1}, 60)
    assert submissions(site, batch) == [("rejected", "not_bought"), ("accepted", None)]
    assert sum(site.simulator.counters()["paid_posts"].values()) == site.accepted() == OTHERS + 1
    settled, held = site.sql(
        "SELECT sum(l.settled), sum(l.held) FROM ledger l JOIN job j ON j.id = l.job_id JOIN batch b "
        "ON b.id = j.batch_id WHERE starts_with(b.name, %s)",
        batch,
    )[0]
    charged = site.simulator.bill()["totals"]["bloom"]["amount"]
    assert (settled, held) == (pytest.approx(float(charged)), 0)
    site.stop_workers()
