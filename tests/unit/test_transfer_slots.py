"""Who may copy now: no account takes the share of another, and a slow host has one lane."""

from collections.abc import Awaitable, Callable

import anyio

from worker import event_loop
from worker.transport.transfer_slots import TransferSlots


class Copies:
    """Copies that begin when they get a slot, and end when a test says so."""

    def __init__(self, slots: TransferSlots) -> None:
        self.slots = slots
        self.running: list[str] = []
        self.ends: list[tuple[str, anyio.Event]] = []

    async def copy(self, account: str) -> None:
        async with self.slots.slot(account):
            self.running.append(account)
            over = anyio.Event()
            self.ends.append((account, over))
            await over.wait()
            self.running.remove(account)

    async def end_one(self, account: str) -> None:
        found = next(one for one in self.ends if one[0] == account)
        self.ends.remove(found)
        found[1].set()
        await anyio.wait_all_tasks_blocked()


def run(work: Callable[[Copies, Callable[[str, int], Awaitable[None]]], Awaitable[None]]) -> None:
    async def live() -> None:
        copies = Copies(TransferSlots(8, {"slow", "other", "third", "fourth"}))
        async with anyio.create_task_group() as group:

            async def begin(account: str, count: int) -> None:
                for _ in range(count):
                    group.start_soon(copies.copy, account)
                await anyio.wait_all_tasks_blocked()

            await work(copies, begin)
            group.cancel_scope.cancel()

    event_loop.run(live)


def test_accounts_that_never_end_leave_each_other_one_its_share() -> None:
    async def work(copies: Copies, begin: Callable[[str, int], Awaitable[None]]) -> None:
        await begin("slow", 100)
        assert copies.running.count("slow") == 5  # its share of one, and the four that are nobody's
        await begin("other", 100)
        assert copies.running.count("other") == 1
        await begin("third", 1)
        await begin("fourth", 1)
        assert copies.running.count("third") == copies.running.count("fourth") == 1
        assert copies.slots.available == 0

    run(work)


def test_a_slot_that_becomes_free_goes_to_the_first_that_may_have_it() -> None:
    async def work(copies: Copies, begin: Callable[[str, int], Awaitable[None]]) -> None:
        await begin("slow", 6)
        await begin("other", 2)
        await copies.end_one("slow")
        assert (copies.running.count("slow"), copies.running.count("other")) == (5, 1)
        await copies.end_one("slow")
        assert (copies.running.count("slow"), copies.running.count("other")) == (4, 2)
        await copies.end_one("other")
        await copies.end_one("other")
        for _ in range(4):
            await copies.end_one("slow")
        assert copies.slots.available == 8

    run(work)


def test_a_copy_that_is_cancelled_while_it_waits_keeps_no_slot() -> None:
    async def work(copies: Copies, begin: Callable[[str, int], Awaitable[None]]) -> None:
        await begin("slow", 5)
        with anyio.move_on_after(0.01):
            await copies.copy("slow")
        for _ in range(5):
            await copies.end_one("slow")
        assert copies.slots.available == 8

    run(work)


def test_the_slow_lane_has_one_slot_and_a_host_leaves_it_by_being_quick_or_after_a_while() -> None:
    now = [0.0]
    slots = TransferSlots(8, {"one"}, clock=lambda: now[0])

    async def work() -> None:
        async with slots.slow_lane() as first, slots.slow_lane() as second:
            assert (first, second) == (True, False)
            async with slots.slow_lane() as third:
                assert not third
        async with slots.slow_lane() as again:
            assert again

    event_loop.run(work)
    slots.found_slow("images.example")
    assert slots.is_slow("images.example")
    assert not slots.is_slow("other.example")
    now[0] = 601.0
    assert not slots.is_slow("images.example")
    slots.found_slow("images.example")
    slots.found_quick("images.example")
    assert not slots.is_slow("images.example")
