"""Copies one picture: link, spool, check, bucket, row; and says what became of it as a value."""

import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any

import anyio
import anyio.to_thread
import structlog

from shared.backoff import delay
from shared.db import images, slots
from shared.db.images import ImageChange, StoredObject
from shared.db.transitions import Claim, renew
from shared.lifecycle import ImageState
from worker import imagecheck
from worker.fetch import Fetched, LinkExpired
from worker.imagecheck import ImageFacts
from worker.inline import extract
from worker.providers.contract import Refused, UpstreamImage
from worker.replies import parse_link
from worker.runtime import Account, Runtime
from worker.spool import SpoolError, TransferError
from worker.storage import StorageError, key_for

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture to copy, as its row has it."""

    claim: Claim
    index: int
    upstream_id: str | None
    link: str
    expires: datetime | None
    expired: bool
    """Whether the link's own time is over; the link is asked all the same, for clocks differ."""
    tries: int
    job_tries: int


@dataclass(frozen=True, slots=True)
class NotYet:
    """The picture waits: its job must be looked at again after `seconds`, for the reason in `code` and `note`."""

    seconds: float
    code: str
    note: str
    tries: int


async def copy(runtime: Runtime, account: Account, picture: Picture) -> NotYet | None:
    """Bring one picture into the bucket or learn why not; writes its row and returns None once that is final."""
    try:
        async with runtime.transfers:
            await _copy(runtime, account, picture, renewable=_renewable(account, picture))
    except (StorageError, SpoolError) as error:
        # Ours to mend, not the link's fault: no try of the picture is spent.
        return _later(runtime, picture.job_tries + 1, error)
    except TransferError as error:
        return await _failed(runtime, account, picture, error)
    return None


def _renewable(account: Account, picture: Picture) -> bool:
    """Whether the provider can be asked for another link."""
    return account.wire.poll_batch > 0 and picture.upstream_id is not None


async def _copy(runtime: Runtime, account: Account, picture: Picture, *, renewable: bool) -> None:
    began = time.monotonic()
    inside = parse_link(picture.link)
    fetched = await (extract(runtime, account, *inside) if inside else runtime.fetcher.fetch(picture.link))
    with fetched.spool:
        facts = await anyio.to_thread.run_sync(partial(_check, runtime, fetched), limiter=runtime.transfers_threads)
        key = key_for(str(picture.claim.job_id), picture.index, fetched.spool.sha256, facts.extension)
        patience = 0 if renewable and picture.expires is None else runtime.settings.store_wait_seconds
        await _put(runtime, picture, fetched, facts, key, patience=patience)
        await runtime.write(partial(_record, runtime, picture, fetched, facts, key))
        _log.info(
            "stored",
            index=picture.index,
            bytes=fetched.spool.length,
            seconds=round(time.monotonic() - began, 3),
        )


def _check(runtime: Runtime, fetched: Fetched) -> ImageFacts:
    settings = runtime.settings
    file = fetched.spool.rewound() if fetched.spool.length else BytesIO()
    return imagecheck.check(
        file,
        declared_type=fetched.content_type,
        max_pixels=settings.max_image_pixels,
        decode=settings.verify_decode,
    )


async def _put(
    runtime: Runtime, picture: Picture, fetched: Fetched, facts: ImageFacts, key: str, *, patience: float
) -> None:
    """Put the object; while the bucket refuses, a picture whose link may die is held in hand, `patience` seconds."""
    put = partial(
        runtime.storage.put,
        key,
        fetched.spool,
        content_type=facts.content_type,
        metadata={"genqueue-job": str(picture.claim.job_id)},
    )
    give_up = time.monotonic() + patience
    tries = 0
    while True:
        try:
            await anyio.to_thread.run_sync(put, limiter=runtime.transfers_threads)
        except StorageError as error:
            runtime.bucket_refused()
            if time.monotonic() >= give_up:
                raise
            tries += 1
            wait = delay(tries, first_seconds=0.5, max_seconds=15, random=runtime.random)
            _log.warning("bucket_refuses", code=error.code, index=picture.index, seconds=round(wait, 1))
            await anyio.sleep(wait)
            await runtime.write(partial(renew, claim=picture.claim, lease_seconds=runtime.transfer_lease))
        else:
            runtime.bucket_took()
            return


def _record(runtime: Runtime, picture: Picture, fetched: Fetched, facts: ImageFacts, key: str, connection: Any) -> None:
    found = StoredObject(
        bucket=runtime.settings.s3_bucket,
        key=key,
        sha256=bytes.fromhex(fetched.spool.sha256),
        bytes=fetched.spool.length,
        content_type=facts.content_type,
        width=facts.width,
        height=facts.height,
    )
    images.store(connection, picture.claim.job_id, picture.index, found)


async def _failed(runtime: Runtime, account: Account, picture: Picture, error: TransferError) -> NotYet | None:
    """Ask again where it may help, and end the picture where it cannot."""
    tries = picture.tries + 1
    renewable = _renewable(account, picture)
    # Before its own time a link may be refused by mistake: it is asked again.
    dead = isinstance(error, LinkExpired) and not renewable and picture.expired
    change = partial(ImageChange, picture.claim, picture.index, tries=tries)
    _log.info("copy_failed", index=picture.index, code=error.code, tries=tries)
    if dead or not error.retryable or tries >= runtime.settings.fetch_tries:
        final = change(ImageState.FAILED, error_code=error.code, error=str(error)[:500])
        await runtime.write(partial(images.change, changes=[final]))
        return None
    again = change(ImageState.READY)
    if isinstance(error, LinkExpired) and renewable:
        found = await _ask_again(runtime, account, picture)
        if isinstance(found, float):
            return NotYet(found, error.code, str(error)[:500], tries)
        if found is not None and found.state is ImageState.FAILED:
            gone = change(ImageState.FAILED, error_code=found.error_code, error=found.error)
            await runtime.write(partial(images.change, changes=[gone]))
            return None
        if found is not None and found.link:
            again = change(ImageState.READY, link=found.link, link_expires_at=found.link_expires_at)
    await runtime.write(partial(images.change, changes=[again]))
    return _later(runtime, tries, error)


async def _ask_again(runtime: Runtime, account: Account, picture: Picture) -> UpstreamImage | float | None:
    """Ask the provider for the picture's link of now; the seconds to wait where it cannot be asked."""
    granted, wait = await runtime.sql(partial(slots.grant, account=account.name, kind="poll", wanted=1))
    if not granted or picture.upstream_id is None:
        return wait
    fresh = await account.wire.poll([picture.upstream_id])
    if isinstance(fresh, Refused):
        settings = runtime.settings
        return min(max(fresh.after_seconds or 0, settings.retry_first_seconds), settings.retry_max_seconds)
    return fresh.get(picture.upstream_id)


def _later(runtime: Runtime, tries: int, error: TransferError) -> NotYet:
    settings = runtime.settings
    wait = delay(
        tries,
        first_seconds=settings.retry_first_seconds,
        max_seconds=settings.retry_max_seconds,
        random=runtime.random,
    )
    return NotYet(max(wait, getattr(error, "retry_after", None) or 0), error.code, str(error)[:500], tries)
