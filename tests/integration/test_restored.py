"""A database that lost rows: its accounts pause before anything is bought again, and a person ends it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import psycopg
import pytest
from sqlalchemy import text

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from producer.client import AfterRestoreError
from shared.db import restoration
from shared.db.engine import transaction
from shared.db.restoration import Mark
from tests.support.command import genqueue
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.outcome import BLOOM, ended, paid_posts
from tests.support.waiting import until
from worker import event_loop
from worker.dispatch import Dispatcher
from worker.runtime import Runtime
from worker.upkeep import high_water

Opened = Callable[[str, Path], AbstractContextManager[tuple[Runtime, Client]]]


@pytest.fixture
def opened(endpoints: Endpoints, simulated: Simulator) -> Opened:
    """Open a worker's runtime and a client on a database, with a spool directory."""

    @contextmanager
    def work_on(url: str, spool: Path) -> Iterator[tuple[Runtime, Client]]:
        settings = settings_for(url, endpoints, simulated.url, spool_dir=spool)
        with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
            yield runtime, client

    return work_on


@pytest.fixture
def copied(endpoints: Endpoints, database_url: str) -> Iterator[Callable[[], str]]:
    """Copy the test's database, as a backup does; the copies are dropped at the end."""
    original, made = database_url.rpartition("/")[2], list[str]()

    def admin(statement: str, **values: str) -> None:
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            connection.execute(statement.encode(), values or None)

    def copy() -> str:
        name = f"backup_{os.getpid()}_{len(made)}"
        admin("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %(name)s", name=original)
        admin(f'CREATE DATABASE {name} TEMPLATE "{original}"')
        made.append(name)
        return f"{database_url.rpartition('/')[0]}/{name}"

    yield copy
    for name in made:
        admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool").mkdir(mode=0o700)
    return tmp_path / "spool"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The spool of another machine, which knows nothing."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    return tmp_path / "elsewhere"


def buy(runtime: Runtime, client: Client, custom_id: str) -> None:
    client.enqueue([{**BLOOM, "custom_id": custom_id}], batch="b")
    drain(runtime, ended(client))


def keep(runtime: Runtime) -> None:
    """Write both marks, as a worker does within half a minute."""
    with transaction(runtime.engine) as connection:
        mark = high_water._advance(connection, runtime.spool_dir)
    assert mark is not None
    high_water._to_bucket(runtime, mark)


@pytest.fixture
def backup(opened: Opened, copied: Callable[[], str], database_url: str, spool: Path) -> str:
    """Return the URL of a backup in which `late` waits; it was bought after the backup."""
    with opened(database_url, spool) as (runtime, client):
        buy(runtime, client, "early")
        keep(runtime)
        client.enqueue([{**BLOOM, "custom_id": "late"}], batch="b")
    made = copied()
    with opened(database_url, spool) as (runtime, client):
        drain(runtime, ended(client))
        keep(runtime)
    return made


def forget_the_bucket(runtime: Runtime) -> None:
    with transaction(runtime.engine) as connection:
        lineage = connection.execute(text("SELECT lineage FROM high_water")).scalar_one()
    runtime.storage.delete(high_water._key(lineage))


def codes(client: Client) -> set[Any]:
    return {account["paused_code"] for account in client.accounts()}


@pytest.mark.parametrize("mark", ["spool", "bucket"])
def test_a_restored_database_buys_nothing_again_until_a_person_ends_it(
    mark: str, backup: str, opened: Opened, spool: Path, elsewhere: Path, simulated: Simulator
) -> None:
    with opened(backup, spool if mark == "spool" else elsewhere) as (runtime, client):
        if mark == "spool":
            forget_the_bucket(runtime)
        ticks = iter(range(20))
        drain(runtime, lambda: next(ticks, None) is None)
        assert paid_posts(simulated) == 2
        assert codes(client) == {"database_restored"}
        with pytest.raises(AfterRestoreError, match=r"the database was restored.*--after-restore"):
            client.resume("bloom")
        assert client.resume_after_restore() == 2
        assert client.audited()[0]["terms"] == "after a restore"
        drain(runtime, ended(client))  # a mark of the time that was lost pauses nothing again
        assert codes(client) == {None}
        assert paid_posts(simulated) == 3


def test_the_command_shows_what_was_found_and_what_may_be_bought_again(
    backup: str, opened: Opened, spool: Path, endpoints: Endpoints
) -> None:
    with opened(backup, spool) as (runtime, client):
        Dispatcher(runtime, print, print)._register()
        environment = {**endpoints.environment(), "GENQUEUE_DATABASE_URL": backup}
        refused = genqueue("resume", "bloom", env=environment)
        assert (refused.code, len(refused.error_lines)) == (2, 1)
        asked = genqueue("resume", "--after-restore", env=environment)
        assert asked.code != 0
        assert codes(client) == {"database_restored"}
        table = [line.split("  ") for line in asked.out.splitlines() if line.startswith(("bloom", "getimg"))]
        assert [[cell.strip() for cell in line if cell.strip()] for line in table] == [
            ["bloom", "0 unowned; no list searched yet", "some wait"],
            ["getimg", "0 unowned; no list searched yet", "none waits"],
        ]
        assert "genqueue resume --after-restore" in genqueue("doctor", "--no-settings", env=environment).out
        ended_by = genqueue("resume", "--after-restore", "--yes", env=environment)
        assert (ended_by.code, codes(client)) == (0, {None})
        again = genqueue("resume", "--after-restore", env=environment)
        assert "lacks nothing" in again.err


def test_a_job_that_waits_on_hold_may_be_bought_again_too(backup: str, opened: Opened, spool: Path) -> None:
    with opened(backup, spool) as (runtime, client):
        client.hold("b")
        Dispatcher(runtime, print, print)._register()
        restored = client.restoration()
        assert restored is not None
        assert [(row["account"], row["waiting"]) for row in restored.accounts] == [("bloom", True), ("getimg", False)]


def test_jobs_that_wait_although_the_bucket_has_their_images_are_listed_with_their_commands(
    backup: str, opened: Opened, spool: Path, endpoints: Endpoints
) -> None:
    environment = {**endpoints.environment(), "GENQUEUE_DATABASE_URL": backup}
    early = genqueue("restored", env=environment)
    assert (early.code, early.err.count("--since TIME")) == (2, 1)
    with opened(backup, spool) as (runtime, client):
        client.hold("b")
        Dispatcher(runtime, print, print)._register()
        found = genqueue("restored", env=environment)
        late = client.find_job("b/late")
        assert found.out.splitlines() == [f"genqueue cancel {late} --yes  # b/late"]
        assert "1 waits here and would be bought again" in found.err
        assert genqueue("cancel", str(late), "--yes", env=environment).code == 0
        assert genqueue("restored", env=environment).out == ""
        assert genqueue("restored", "--since", "2999-01-01T00:00:00", env=environment).err.startswith(
            "the bucket has images of 0 jobs"
        )


def test_a_switchover_that_lost_nothing_pauses_nothing(
    opened: Opened, copied: Callable[[], str], database_url: str, spool: Path
) -> None:
    with opened(database_url, spool) as (runtime, client):
        buy(runtime, client, "early")
        keep(runtime)
    with opened(copied(), spool) as (runtime, client):
        buy(runtime, client, "later")
        keep(runtime)
        assert codes(client) == {None}


def test_lines_that_left_the_ledger_and_marks_of_other_databases_pause_nothing(
    opened: Opened, copied: Callable[[], str], database_url: str, spool: Path
) -> None:
    with opened(database_url, spool) as (runtime, client):
        buy(runtime, client, "early")
        keep(runtime)
        with transaction(runtime.engine) as connection:
            connection.execute(text("DELETE FROM ledger"))
        Dispatcher(runtime, print, print)._register()
        assert codes(client) == {None}
        with transaction(runtime.engine) as connection:
            connection.execute(text("DELETE FROM high_water"))  # as in another database
        Dispatcher(runtime, print, print)._register()
        assert codes(client) == {None}


def test_a_running_worker_keeps_both_marks(opened: Opened, database_url: str, spool: Path, elsewhere: Path) -> None:
    with opened(database_url, spool) as (runtime, client):
        buy(runtime, client, "early")

        def kept() -> bool:
            with transaction(runtime.engine) as connection:
                lineage = connection.execute(text("SELECT lineage FROM high_water")).scalar_one()
            return bool(high_water._from_file(spool, lineage) and high_water._from_bucket(runtime, lineage))

        async def work() -> None:
            async with anyio.create_task_group() as group:
                runtime.start(group)
                group.start_soon(high_water.keep_marks, runtime)
                await anyio.to_thread.run_sync(lambda: until(kept))
                group.cancel_scope.cancel()

        event_loop.run(work)
        assert [file.stat().st_mode & 0o777 for file in spool.glob("high-water-*")] == [0o600]
    assert not list(elsewhere.iterdir())


def test_a_line_that_is_written_while_the_bucket_is_asked_reaches_the_file_too(
    opened: Opened, database_url: str, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_bucket = high_water._from_bucket

    with opened(database_url, spool) as (runtime, client):
        buy(runtime, client, "early")

        def slowly(asked: Runtime, lineage: UUID) -> list[Mark]:
            with transaction(runtime.engine) as connection:
                connection.execute(text("UPDATE ledger SET id = DEFAULT WHERE id = (SELECT max(id) FROM ledger)"))
            monkeypatch.setattr(high_water, "_from_bucket", from_bucket)  # last: from here on it may count as caught up
            return from_bucket(asked, lineage)

        def caught_up() -> bool:
            with transaction(runtime.engine) as connection:
                newest = restoration.newest(connection)
            kept = high_water._from_file(spool, newest.lineage) if newest else []
            return bool(newest and kept and kept[0].line == newest.line and high_water._from_bucket is from_bucket)

        async def work() -> None:
            async with anyio.create_task_group() as group:
                runtime.start(group)
                group.start_soon(high_water.keep_marks, runtime)
                await anyio.to_thread.run_sync(lambda: until(caught_up))
                group.cancel_scope.cancel()

        monkeypatch.setattr(high_water, "_from_bucket", slowly)
        event_loop.run(work)
        assert caught_up()
