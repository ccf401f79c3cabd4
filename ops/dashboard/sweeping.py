"""Deletes thumbnails of pictures that were erased or have left, at the start and every ten minutes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from starlette.concurrency import run_in_threadpool

from ops.dashboard.reading import Reads
from ops.dashboard.thumbnails import Thumbnails

_log = structlog.get_logger(__name__)
EVERY_SECONDS: Final = 600.0


@asynccontextmanager
async def swept(thumbnails: Thumbnails, reads: Reads, every_seconds: float = EVERY_SECONDS) -> AsyncIterator[None]:
    """Sweep for as long as this lasts."""
    task = asyncio.create_task(_sweep(thumbnails, reads, every_seconds))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep(thumbnails: Thumbnails, reads: Reads, every_seconds: float) -> None:
    while True:
        try:
            await run_in_threadpool(thumbnails.sweep, reads.pictures_there)
        except Exception as error:  # noqa: BLE001 - the database or the disk is away; the next sweep does it
            _log.warning("thumbnails_not_swept", error=type(error).__name__)
        await asyncio.sleep(every_seconds)
