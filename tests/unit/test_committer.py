"""The committer: in groups, one fault apart from its neighbours, and nothing lost on the way."""

import threading
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from shared.db.group_commit import TryAgainError, WriteRefusedError
from tests.support.committing import (
    Database,
    DeadConnectionError,
    Keepsake,
    Work,
    committing,
    insert,
    until,
    write_all,
)
from worker import event_loop
from worker.evidence.committer import NotCommittedError


def conflict(_: set[Any]) -> None:
    raise KeyError("that id belongs to another")


def test_writes_that_arrive_during_a_commit_go_into_the_next_one_together() -> None:
    database = Database()

    async def run() -> list[Any]:
        async with committing(database) as committer, anyio.create_task_group() as group:
            database.gate.clear()
            group.start_soon(committer.write, insert("first"))
            await until(lambda: database.begun == 1)
            results: list[Any] = []

            async def rest() -> None:
                results.extend(await write_all(committer, [insert(n) for n in range(50)]))

            group.start_soon(rest)
            await until(lambda: len(committer._fresh) == 50)
            database.gate.set()
        return results

    assert event_loop.run(run) == list(range(50))
    assert database.groups == [1, 50]


def test_a_conflict_is_told_to_its_own_caller_and_fails_no_neighbour() -> None:
    database = Database()

    async def run() -> list[Any]:
        async with committing(database) as committer:
            return await write_all(committer, [insert("a"), conflict, insert("b")])

    first, second, third = event_loop.run(run)
    assert (first, third) == ("a", "b")
    assert isinstance(second, KeyError)
    assert database.committed == {"a", "b"}


def test_nothing_is_lost_while_the_database_is_away() -> None:
    database = Database()
    database.away = 5

    async def run() -> list[Any]:
        async with committing(database) as committer:
            return await write_all(committer, [insert(n) for n in range(20)])

    assert event_loop.run(run) == list(range(20))
    assert database.committed == set(range(20))


def test_the_evidence_of_a_whole_group_is_safe_once_its_commit_has_failed() -> None:
    database, keepsakes = Database(), [Keepsake() for _ in range(20)]
    database.away = 1000

    async def run() -> int | None:
        async with committing(database) as committer, anyio.create_task_group() as group:
            for number, keepsake in enumerate(keepsakes):
                group.start_soon(committer.write, insert(number), keepsake)
            with anyio.move_on_after(2):
                await until(lambda: all(keepsake.place for keepsake in keepsakes))
            safe_after = len(database.groups) if all(keepsake.place for keepsake in keepsakes) else None
            database.away = 0
        return safe_after

    # Alone, the twenty would have needed a commit each, and half a minute.
    safe_after = event_loop.run(run)
    assert safe_after is not None
    assert safe_after < 10
    assert database.groups[0] == 20
    assert [keepsake.said for keepsake in keepsakes] == [["kept", "dropped"]] * 20


def test_a_locked_row_is_tried_again_and_its_neighbours_are_not_kept_waiting() -> None:
    database, locked = Database(), threading.Event()

    def wait_for_lock(committed: set[Any]) -> str:
        if not locked.is_set():
            raise TryAgainError("LockNotAvailable")
        return insert("locked")(committed)

    async def run() -> list[Any]:
        async with committing(database) as committer:
            results: list[Any] = []

            async def patient() -> None:
                results.append(await committer.write(wait_for_lock))

            async with anyio.create_task_group() as group:
                group.start_soon(patient)
                results.extend([await committer.write(insert(n)) for n in range(10)])
                locked.set()
            return results

    assert event_loop.run(run) == [*range(10), "locked"]


def test_a_write_that_kills_its_connection_each_time_holds_up_nobody_else() -> None:
    database, cured = Database(), threading.Event()

    def poison(committed: set[Any]) -> str:
        if not cured.is_set():
            raise DeadConnectionError
        return insert("poison")(committed)

    async def run() -> list[Any]:
        async with committing(database) as committer:
            results: list[Any] = []

            async def poisoned() -> None:
                results.append(await committer.write(poison))

            async with anyio.create_task_group() as group:
                group.start_soon(poisoned)
                results.extend(await write_all(committer, [insert(n) for n in range(20)]))
                cured.set()
            return results

    assert event_loop.run(run) == [*range(20), "poison"]


def test_a_cancelled_caller_does_not_lose_its_write() -> None:
    database = Database()

    async def run() -> None:
        async with committing(database) as committer:
            database.gate.clear()
            async with anyio.create_task_group() as group:
                group.start_soon(committer.write, insert("paid"))
                await until(lambda: database.begun == 1)
                group.cancel_scope.cancel()
                threading.Timer(0.05, database.gate.set).start()

    event_loop.run(run)
    assert database.committed == {"paid"}


def test_a_stop_commits_what_is_still_held() -> None:
    database = Database()
    database.away = 3
    results: list[Any] = []

    async def run() -> None:
        async with anyio.create_task_group() as writers, committing(database) as committer:

            async def write_twenty() -> None:
                results.extend(await write_all(committer, [insert(n) for n in range(20)]))

            writers.start_soon(write_twenty)
            await until(lambda: bool(database.groups))

    event_loop.run(run)
    assert results == list(range(20))


def test_a_stop_during_a_commit_still_hands_out_its_results() -> None:
    database = Database()
    database.gate.clear()
    results: list[Any] = []

    async def run() -> None:
        async with anyio.create_task_group() as writers, committing(database) as committer:

            async def write() -> None:
                results.append(await committer.write(insert("paid")))

            writers.start_soon(write)
            await until(lambda: database.begun == 1)
            threading.Timer(0.05, database.gate.set).start()

    event_loop.run(run)
    assert (results, database.groups) == (["paid"], [1])


def test_a_stop_without_a_database_ends_within_its_grace_and_leaves_no_caller_hanging() -> None:
    database = Database()
    database.away = 10**9

    async def run() -> list[Any]:
        results: list[Any] = []
        async with anyio.create_task_group() as writers, committing(database, grace_seconds=0.2) as committer:

            async def write() -> None:
                results.extend(await write_all(committer, [insert(n) for n in range(3)]))

            writers.start_soon(write)
            await until(lambda: bool(database.groups))
        with pytest.raises(NotCommittedError):
            await committer.write(insert("late"))
        return results

    results = event_loop.run(run)
    assert [type(result) for result in results] == [NotCommittedError] * 3


def test_a_large_backlog_is_committed_in_bounded_groups() -> None:
    database = Database()

    async def run() -> list[Any]:
        async with committing(database) as committer:
            return await write_all(committer, [insert(n) for n in range(1000)])

    assert event_loop.run(run) == list(range(1000))
    assert max(database.groups) <= 200


def refused(_: set[Any]) -> None:
    raise WriteRefusedError("NumericValueOutOfRange", "22003")


def not_taken(sqlstate: str) -> Work:
    def work(_: set[Any]) -> None:
        raise TryAgainError("RaiseException", sqlstate)

    return work


def test_a_refusal_is_final_after_failing_alone_twice_and_its_evidence_is_safe_by_then() -> None:
    database, keepsake, alone = Database(), Keepsake(), list[int]()

    def told(committed: set[Any]) -> None:
        alone.append(database.groups[-1])
        refused(committed)

    async def run() -> list[str]:
        async with committing(database) as committer:
            with pytest.raises(WriteRefusedError, match="22003"):
                await committer.write(told, keepsake)
            return list(keepsake.said)

    assert event_loop.run(run) == ["kept"]
    assert alone == [1, 1]


def test_a_refusal_in_a_group_counts_for_nothing() -> None:
    database, tries = Database(), list[int]()

    def told(committed: set[Any]) -> None:
        tries.append(database.groups[-1])
        refused(committed)

    async def run() -> list[Any]:
        async with committing(database) as committer:
            database.gate.clear()
            async with anyio.create_task_group() as group:
                group.start_soon(committer.write, insert("first"))
                await until(lambda: database.begun == 1)
                results: list[Any] = []

                async def rest() -> None:
                    results.extend(await write_all(committer, [insert("a"), told, insert("b")]))

                group.start_soon(rest)
                await until(lambda: len(committer._fresh) == 3)
                database.gate.set()
            return results

    first, second, third = event_loop.run(run)
    assert (first, third) == ("a", "b")
    assert isinstance(second, WriteRefusedError)
    assert tries == [3, 1, 1]


def test_a_refusal_that_passes_the_second_time_is_committed() -> None:
    database, tries = Database(), list[int]()

    def once(committed: set[Any]) -> str:
        tries.append(1)
        if len(tries) == 1:
            refused(committed)
        return insert("in the end")(committed)

    async def run() -> Any:
        async with committing(database) as committer:
            return await committer.write(once)

    assert event_loop.run(run) == "in the end"


@pytest.mark.parametrize("sqlstate", ["40001", "42501", "53100", "55P03", "57014", "P0001", "XX000"])
def test_any_other_refusal_is_tried_again_and_told_from_the_third_time_on_without_values(sqlstate: str) -> None:
    database, cured, tries = Database(), threading.Event(), list[int]()

    def stubborn(committed: set[Any]) -> str:
        tries.append(1)
        if not cured.is_set():
            not_taken(sqlstate)(committed)
        return insert("in the end")(committed)

    async def run() -> Any:
        async with committing(database) as committer, anyio.create_task_group() as group:
            results: list[Any] = []

            async def write() -> None:
                results.append(await committer.write(stubborn))

            group.start_soon(write)
            await until(lambda: len(tries) >= 4)
            assert committer.stuck_seconds > 0
            cured.set()
            await until(lambda: bool(results))
            assert committer.stuck_seconds == 0
            return results

    with capture_logs() as logs:
        assert event_loop.run(run) == ["in the end"]
    told = [line for line in logs if line["event"] == "write_waits"]
    assert [line["tries"] for line in told][:2] == [3, 4]
    assert {(line["sqlstate"], line["log_level"]) for line in told} == {(sqlstate, "warning")}
    assert all(line["seconds"] >= 0 for line in told)


def test_a_write_that_is_never_taken_holds_up_no_other_of_its_lane() -> None:
    database, tries = Database(), dict[str, int]()

    def twice(key: str) -> Work:
        def work(committed: set[Any]) -> Any:
            tries[key] = tries.get(key, 0) + 1
            if tries[key] <= 2:
                raise TryAgainError("LockNotAvailable", "55P03")
            return insert(key)(committed)

        return work

    async def run() -> list[Any]:
        async with committing(database, grace_seconds=0.1) as committer, anyio.create_task_group() as group:
            group.start_soon(write_all, committer, [not_taken("P0001"), not_taken("P0001")])
            await until(lambda: len(committer._troubled) == 2)
            results = await write_all(committer, [twice(f"w{number}") for number in range(20)])
            committer.hurry(0)
        return results

    assert event_loop.run(run) == [f"w{number}" for number in range(20)]


def test_who_waits_for_a_write_that_postgresql_does_not_take_goes_on_and_it_is_tried_again_all_the_same() -> None:
    database, keepsake, cured = Database(), Keepsake(), threading.Event()

    def stubborn(committed: set[Any]) -> str:
        if not cured.is_set():
            not_taken("P0001")(committed)
        return insert("in the end")(committed)

    async def run() -> None:
        async with committing(database, patience_seconds=0.2) as committer:
            with pytest.raises(NotCommittedError):
                await committer.write(stubborn, keepsake)
            assert keepsake.said == ["kept"]
            cured.set()
            await until(lambda: keepsake.said == ["kept", "dropped"])

    event_loop.run(run)
    assert database.committed == {"in the end"}


def test_a_stop_lets_go_of_a_write_that_is_not_taken_once_its_evidence_is_safe() -> None:
    database, keepsake = Database(), Keepsake()

    async def run() -> None:
        async with committing(database, grace_seconds=0.1) as committer, anyio.create_task_group() as group:

            async def write() -> None:
                with pytest.raises(NotCommittedError):
                    await committer.write(not_taken("P0001"), keepsake)
                assert keepsake.said == ["kept"]

            group.start_soon(write)
            await until(lambda: bool(committer._troubled))
            committer.hurry(0.1)

    event_loop.run(run)


def test_a_stop_lets_go_of_a_commit_that_never_returns_once_its_evidence_is_safe() -> None:
    database, keepsake = Database(), Keepsake()
    database.gate.clear()

    async def run() -> None:
        async with committing(database) as committer:
            committer.hurry(0.1)
            with pytest.raises(NotCommittedError):
                await committer.write(insert("slow"), keepsake)
            assert keepsake.said == ["kept"]
            database.gate.set()
            await until(lambda: keepsake.said == ["kept", "dropped"])

    event_loop.run(run)
    assert database.committed == {"slow"}


def test_evidence_that_comes_after_the_committer_ended_is_kept() -> None:
    database, keepsake = Database(), Keepsake()

    async def run() -> None:
        async with committing(database) as committer:
            pass
        with pytest.raises(NotCommittedError):
            await committer.write(insert("late"), keepsake)

    event_loop.run(run)
    assert keepsake.said == ["kept"]


def test_a_write_that_is_taken_at_once_touches_no_disk() -> None:
    database, keepsake = Database(), Keepsake()
    written: list[str] = []
    keepsake.keep = lambda: written.append("kept")  # type: ignore[method-assign]

    async def run() -> None:
        async with committing(database) as committer:
            await committer.write(insert("a"), keepsake)

    event_loop.run(run)
    assert written == []
