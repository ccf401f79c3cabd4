"""Single jobs on their way into the database: those that come while one transaction runs share the next one.

A transaction costs as much as all the rest of a request. One caller alone waits for nobody; many share the cost.
"""

import asyncio
from collections import deque
from itertools import islice
from typing import Final

import anyio
import anyio.to_thread
from starlette.concurrency import run_in_threadpool

from producer.client import BatchBusyError, Client, EnqueuedJob, Order

_MOST: Final = 64
"""Orders in one transaction: callers beyond them wait for the next one rather than for a longer one."""
_MOST_BYTES: Final = 4_000_000
"""Bytes of requests after which a transaction takes no more orders: some carry their references as data."""
_BESIDE: Final = 8
"""Orders added at once beside a file that is on its way into their batch; each may wait for it, with a connection."""
_Waiting = tuple[Order, "asyncio.Future[EnqueuedJob]"]


class Orders:
    """The orders of one process. Used by the event loop alone, so it needs no lock."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: deque[_Waiting] = deque()
        self._adding: asyncio.Task[None] | None = None
        self._beside: anyio.CapacityLimiter | None = None  # made inside the event loop

    async def add(self, order: Order) -> EnqueuedJob:
        """Add an order and return its job, also if it is there already; raises as `Client.enqueue_one`."""
        future: asyncio.Future[EnqueuedJob] = asyncio.get_running_loop().create_future()
        self._waiting.append((order, future))
        if self._adding is None:
            self._adding = asyncio.create_task(self._add_all())
        try:
            return await future
        except BatchBusyError:
            return await self._add_beside(order)

    async def _add_all(self) -> None:
        try:
            while self._waiting:
                await self._add_some(self._next())
        finally:
            self._adding = None

    def _next(self) -> list[_Waiting]:
        """Take the orders of the next transaction out of those that wait: at least one."""
        size = count = 0
        for order, _ in islice(self._waiting, _MOST):
            size += len(order.row.request)
            if count and size > _MOST_BYTES:
                break
            count += 1
        return [self._waiting.popleft() for _ in range(count)]

    async def _add_some(self, some: list[_Waiting]) -> None:
        try:
            done = await run_in_threadpool(self._client.add_together, [order for order, _ in some])
        except Exception as error:  # noqa: BLE001 - handed to everyone who waits
            done = [error] * len(some)
        for (_, future), one in zip(some, done, strict=True):
            if future.done():  # whoever sent it has gone
                continue
            if isinstance(one, Exception):
                future.set_exception(one)
            else:
                future.set_result(one)

    async def _add_beside(self, order: Order) -> EnqueuedJob:
        if self._beside is None:
            self._beside = anyio.CapacityLimiter(_BESIDE)
        return await anyio.to_thread.run_sync(self._client.add_alone, order, limiter=self._beside)
