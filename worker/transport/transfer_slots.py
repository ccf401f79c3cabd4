"""Who may copy an image now: every account keeps a share, and too slow hosts share one lane of one slot."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final

import anyio

_SLOW_SECONDS: Final = 600.0
"""For how long a host counts as too slow after it was seen to be."""


class TransferSlots:
    """At most `slots` copies at once. Half of the slots are set aside in equal shares, one for each account.

    So accounts whose hosts are slow never take the share of another. Use it in one event loop.
    """

    def __init__(self, slots: int, accounts: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._accounts = frozenset(accounts)
        self._share = max(slots // (2 * max(len(accounts), 1)), 1)
        self._used: Counter[str] = Counter()
        self._waiting: list[tuple[str, anyio.Event]] = []
        self._clock = clock
        self._slow: dict[str, float] = {}
        self._lane_is_free = True

    @property
    def available(self) -> int:
        """How many copies could begin now, if they were of many accounts."""
        return self._slots - self._used.total()

    @asynccontextmanager
    async def slot(self, account: str) -> AsyncIterator[None]:
        """Wait for a free slot and hold it for a copy of `account`; first come, first served."""
        await self._admit(account)
        try:
            yield
        finally:
            self._leave(account)

    @asynccontextmanager
    async def slow_lane(self) -> AsyncIterator[bool]:
        """Hold the lane's slot; yields False, at once, if another copy has it."""
        free, self._lane_is_free = self._lane_is_free, False
        try:
            yield free
        finally:
            self._lane_is_free = self._lane_is_free or free

    def found_slow(self, host: str) -> None:
        """Record that a host sent too slowly."""
        self._slow[host] = self._clock()

    def found_quick(self, host: str) -> None:
        """Record that a host sent quickly enough."""
        self._slow.pop(host, None)

    def is_slow(self, host: str) -> bool:
        """Tell whether a host was too slow a while ago."""
        return self._clock() - self._slow.get(host, float("-inf")) < _SLOW_SECONDS

    async def _admit(self, account: str) -> None:
        if not any(waiter == account for waiter, _ in self._waiting) and self._may(account):
            self._used[account] += 1
            return
        mine = (account, anyio.Event())
        self._waiting.append(mine)
        try:
            await mine[1].wait()
        except BaseException:
            if mine in self._waiting:
                self._waiting.remove(mine)
            else:
                self._leave(account)
            raise

    def _leave(self, account: str) -> None:
        self._used[account] -= 1
        for one in list(self._waiting):
            if self._may(one[0]):
                self._waiting.remove(one)
                self._used[one[0]] += 1
                one[1].set()

    def _may(self, account: str) -> bool:
        """Tell whether a slot is free for `account`: of its own share, or beyond the shares of the others."""
        if self._used[account] < self._share:
            return self.available > 0
        kept = sum(max(self._share - self._used[other], 0) for other in self._accounts - {account})
        return self.available > kept
