"""A database is put back to a backup while its provider and its bucket went on: nothing is bought again unasked."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ops.simulator import Simulator
from ops.stack import Home, Stack
from producer import NoSuchBatchError
from tests.e2e.conftest import SIMULATED, migrated
from tests.e2e.site import Site

JOBS = 6


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of its own, because its database goes back in time."""
    home = Home(tmp_path_factory.mktemp("restored") / "home")
    with Simulator(SIMULATED).serve() as simulator, Stack(home) as stack:
        opened = migrated(stack, simulator)
        yield opened
        opened.close()


def data_of(site: Site) -> Path:
    return Path(site.sql("SHOW data_directory")[0][0])


def copy(site: Site, source: Path, target: Path) -> None:
    """Stop PostgreSQL in order, copy its files with their owners and rights, and start it again."""
    server = site.stack._child("postgres").process
    server.send(signal.SIGINT)
    server.wait(30)
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["/bin/cp", "-a", str(source), str(target)], check=True)
    site.stack.restart("postgres")
    site.client._engine.dispose()  # its connections are gone


def is_marked(site: Site) -> bool:
    """Tell whether the worker's mark names the newest line of the ledger."""
    newest = site.sql("SELECT max(id) FROM ledger")[0][0]
    marks = site.stack.home.path.rglob("high-water-*.json")
    return any(json.loads(mark.read_text())["line"] == newest for mark in marks)


def codes(site: Site) -> set[object]:
    return {account["paused_code"] for account in site.client.accounts()}


def has_ticked(site: Site, since: object) -> bool:
    return bool(site.sql("SELECT 1 FROM worker WHERE last_tick_at > %s", since))


def test_nothing_is_bought_again_after_a_restore_until_a_person_says_so(site: Site, tmp_path: Path) -> None:
    site.start_worker("worker-1")
    site.enqueue("early", bloom=JOBS)
    assert site.await_settled("early") == {"succeeded": JOBS}
    data, backup = data_of(site), tmp_path / "backup"
    site.stop_workers()
    copy(site, data, backup)
    site.start_worker("worker-1")
    site.enqueue("late", bloom=JOBS)
    assert site.await_settled("late") == {"succeeded": JOBS}
    site.until(partial(is_marked, site))
    site.stop_workers()
    copy(site, backup, data)

    with pytest.raises(NoSuchBatchError):
        site.client.totals("late")
    site.start_worker("worker-1")
    site.until(lambda: codes(site) == {"database_restored"})
    site.enqueue("late", bloom=JOBS)  # its producer does not know either
    (now,) = site.sql("SELECT clock_timestamp()")[0]
    site.until(partial(has_ticked, site, now))
    assert site.accepted() == 2 * JOBS
    assert site.client.totals("late") == {"queued": JOBS}

    assert site.client.resume_after_restore() > 0
    assert site.await_settled("late") == {"succeeded": JOBS}
    assert site.accepted() == 3 * JOBS
