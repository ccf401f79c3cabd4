"""Copies one image: link, spool, check, bucket (`put_object`), row. The result is a value."""

import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from io import BytesIO
from typing import Final
from urllib.parse import urlsplit

import anyio
import structlog

from shared.db.jobs import images, stored_images
from shared.db.jobs.stored_images import StoredImage, StoredObject
from shared.db.jobs.transitions import renew
from shared.images import ClaimedImage
from shared.lifecycle import Stage
from worker import imagecheck, next_step
from worker.evidence.inline_answers import extract
from worker.evidence.replies import parse_link
from worker.imagecheck import ImageError, ImageFacts, TooSmall, UnsureLink
from worker.next_step import CopyWait, RefusedBytes
from worker.providers.contract import UNSURE_LINK
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.failed_copy import follow_failure, is_renewable
from worker.stages.put_object import put_object
from worker.transport.download import Fetched
from worker.transport.faithful_reader import FaithfulReader
from worker.transport.fetch_errors import TooSlow
from worker.transport.spool import Spool, SpoolError, TooLarge, TransferError
from worker.transport.storage_errors import StorageError

_log = structlog.get_logger(__name__)
_MOST_PATIENCE: Final = 3600.0
_URGENT_SECONDS: Final = 120.0
_HEAD_BYTES: Final = 64 * 1024
_LEAST_SHARE: Final = 4


async def copy_image(runtime: Runtime, account: ServedAccount, image: ClaimedImage) -> CopyWait | None:
    """Copy one image to the bucket or find out why not; writes its row, and returns None once the image is final."""
    host = _host(image)
    try:
        if runtime.transfers.is_slow(host):
            return await _copy_slowly(runtime, account, image, host)
        async with runtime.transfers.slot(account.name):
            if await _is_still_ours(runtime, image):
                await _copy(runtime, account, image)
    except TooSlow as error:
        runtime.transfers.found_slow(host)
        return await follow_failure(runtime, account, image, error)
    except (StorageError, SpoolError) as error:
        # Our own fault, not the link's: no try of the image is spent.
        return _until_next_copy(runtime, account, image, error.code, str(error))
    except TransferError as error:
        return await follow_failure(runtime, account, image, error)
    return None


def _until_next_copy(runtime: Runtime, account: ServedAccount, image: ClaimedImage, code: str, note: str) -> CopyWait:
    return next_step.until_next_copy(runtime.decision_inputs(account), image, code, note)


async def _copy_slowly(runtime: Runtime, account: ServedAccount, image: ClaimedImage, host: str) -> CopyWait | None:
    """Copy an image of a host that was too slow, if no other such copy runs here; it takes nobody's slot.

    An image whose link is about to end does not wait for the lane.
    """
    async with runtime.transfers.slow_lane() as free:
        if not free and (image.link_left is None or image.link_left > _URGENT_SECONDS):
            return _until_next_copy(runtime, account, image, TooSlow.code, f"{host} was too slow: one copy at a time")
        began = time.monotonic()
        await _copy_and_keep_lease(runtime, account, image)
        # It ended within the time in which no speed is asked for.
        if time.monotonic() - began < runtime.fetcher.grace_seconds:
            runtime.transfers.found_quick(host)
    return None


async def _copy_and_keep_lease(runtime: Runtime, account: ServedAccount, image: ClaimedImage) -> None:
    fault: TransferError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_keep_lease, runtime, image)
        try:
            await _copy(runtime, account, image, patient_seconds=_patience(runtime, image))
        except TransferError as error:
            fault = error  # raised in here, it would leave the group as another kind
        group.cancel_scope.cancel()
    if fault is not None:
        raise fault


def _patience(runtime: Runtime, image: ClaimedImage) -> float:
    """Return the seconds that a slow download may take: the rest of the link's life, within bounds."""
    left = _MOST_PATIENCE if image.link_left is None else image.link_left
    return min(max(left, runtime.settings.fetch_timeout_seconds), _MOST_PATIENCE)


async def _keep_lease(runtime: Runtime, image: ClaimedImage) -> None:
    while True:
        await runtime.write(renew, image.claim, lease_seconds=runtime.leases[Stage.TRANSFER])
        await anyio.sleep(runtime.leases[Stage.TRANSFER] / 4)


def _host(image: ClaimedImage) -> str:
    """Return the host of the link; empty where there is none, or where it is a kept answer."""
    with suppress(ValueError):
        return urlsplit(image.link or "").hostname or ""
    return ""


async def _is_still_ours(runtime: Runtime, image: ClaimedImage) -> bool:
    """Renew the lease of a job that has waited long for its turn; False where somebody else has it by now."""
    waited = time.monotonic() - image.read_at
    if waited < runtime.leases[Stage.TRANSFER] / 4:
        return True
    return await runtime.write(renew, image.claim, lease_seconds=runtime.leases[Stage.TRANSFER])


async def _copy(
    runtime: Runtime, account: ServedAccount, image: ClaimedImage, *, patient_seconds: float | None = None
) -> None:
    began = time.monotonic()
    inside = parse_link(image.link or "")
    fetched = await (extract(runtime, account, *inside) if inside else _fetch(runtime, image, patient_seconds))
    # If the link may die, the worker holds the image and waits for the bucket.
    can_wait_upstream = is_renewable(account, image) and image.link_expires_at is None
    patience = 0.0 if can_wait_upstream else runtime.settings.store_wait_seconds
    with ExitStack() as spools:
        spools.enter_context(fetched.spool)
        fetched, facts = await _judged(runtime, fetched, spools)
        facts = _trusted(image, _sized(image, facts))
        if isinstance(facts, ImageError):
            refused = RefusedBytes(image, facts, fetched.spool.sha256, fetched.spool.length, fixed=inside is not None)
            await _keep(runtime, fetched, refused, patience=patience)
            runtime.metrics.images_lost.labels(account.name, facts.code).inc()
            return
        stored = await put_object(runtime, image, fetched, facts, patience=patience)
        await runtime.write_joined(stored_images.store, _arrived(image, stored))
        runtime.metrics.images_stored.labels(account.name).inc()
        seconds = round(time.monotonic() - began, 3)
        _log.info("stored", index=image.index, bytes=fetched.spool.length, seconds=seconds)


async def _judged(runtime: Runtime, fetched: Fetched, spools: ExitStack) -> tuple[Fetched, ImageFacts | ImageError]:
    """Return what came, without a wrapping that no header names, and what it is or why it is no image."""
    try:
        return fetched, await _check_in_thread(runtime, fetched)
    except ImageError as error:
        bare = fetched if error.begins_as else await runtime.in_thread(_unwrapped, runtime, fetched, spools)
        if bare is fetched:
            return fetched, error
    try:
        return bare, await _check_in_thread(runtime, bare)
    except ImageError as error:
        return bare, error


def _sized(image: ClaimedImage, facts: ImageFacts | ImageError) -> ImageFacts | ImageError:
    """Refuse an image both of whose sides are less than a quarter of what its provider states.

    Providers round sizes, and some state the size before a model's own limit; none delivers a sixteenth of the pixels.
    """
    if isinstance(facts, ImageError) or facts.attached or None in {facts.width, image.stated_width}:
        return facts
    came, stated = (facts.width or 0, facts.height or 0), (image.stated_width or 0, image.stated_height or 0)
    if all(_LEAST_SHARE * side < whole for side, whole in zip(came, stated, strict=True)):
        error = TooSmall(f"{came[0]} x {came[1]} pixels, where its provider states {stated[0]} x {stated[1]}")
        error.begins_as = facts
        return error
    return facts


def _trusted(image: ClaimedImage, facts: ImageFacts | ImageError) -> ImageFacts | ImageError:
    """Refuse a picture that an answer only seemed to link to: a person looks at it, and accepts it or not."""
    if isinstance(facts, ImageError) or image.error_code != UNSURE_LINK:
        return facts
    error = UnsureLink(image.error or "its link is not certainly the picture's")
    error.begins_as = facts
    return error


def _unwrapped(runtime: Runtime, fetched: Fetched, spools: ExitStack) -> Fetched:
    """Return what came, or what its wrapping holds."""
    inside = spools.enter_context(Spool(directory=runtime.spool_dir, max_bytes=runtime.settings.max_image_bytes))
    if not fetched.spool.length:
        return fetched
    reader, is_wrapped = FaithfulReader(fetched.spool), False
    with suppress(TooLarge):
        is_wrapped = imagecheck.unwrap(reader.file, inside.write)
    if reader.fault is not None:
        raise reader.fault
    return replace(fetched, spool=inside) if is_wrapped else fetched


async def _fetch(runtime: Runtime, image: ClaimedImage, patient_seconds: float | None) -> Fetched:
    """Download the image. A body that came short twice in the same way is accepted if it is a whole image."""

    async def is_whole(fetched: Fetched) -> bool:
        if bytes.fromhex(fetched.spool.sha256) != image.short_sha256:
            return False
        try:
            await _check_in_thread(runtime, fetched)
        except ImageError as error:
            await _keep_short(runtime, image, fetched, error)
            return False
        return True

    return await runtime.fetcher.fetch(image.link or "", take_short=is_whole, patient_seconds=patient_seconds)


async def _keep_short(runtime: Runtime, image: ClaimedImage, fetched: Fetched, error: ImageError) -> None:
    """Keep what begins as an image and came short twice in the same way: the link may never give more of it."""
    if error.begins_as is None or bytes.fromhex(fetched.spool.sha256) == image.refused_sha256:
        return
    facts = replace(error.begins_as, attached=True)
    stored = await put_object(runtime, image, fetched, facts, patience=0.0, verified=False)
    await runtime.write(stored_images.keep, _arrived(image, stored), is_image=False)


async def _keep(runtime: Runtime, fetched: Fetched, refused: RefusedBytes, *, patience: float) -> None:
    """Keep refused bytes that begin as an image, or may hold one; raise their error while better ones may come.

    They are kept at the first refusal, because the link may be dead at the next try.
    """
    image, key = refused.image, None
    kept_as = await runtime.in_thread(_kept_as, fetched, refused)
    if kept_as is not None:
        facts = replace(kept_as, attached=True)
        stored = await put_object(runtime, image, fetched, facts, patience=patience, verified=False)
        await runtime.write(stored_images.keep, _arrived(image, stored), is_image=refused.begins_as is not None)
        key = stored.key
    final = next_step.image_after_refused_bytes(runtime.settings, refused, key)
    if final is None:
        raise refused.error
    await runtime.write(images.change, [final])
    _log.info("copy_refused", index=image.index, code=final.error_code, bytes=fetched.spool.length)


def _kept_as(fetched: Fetched, refused: RefusedBytes) -> ImageFacts | None:
    held = refused.are_doubtful and imagecheck.may_hold_image(fetched.spool.rewound().read(_HEAD_BYTES))
    return refused.kept_as(may_hold_image=held)


async def _check_in_thread(runtime: Runtime, fetched: Fetched) -> ImageFacts:
    return await runtime.in_thread(_check, runtime, fetched)


def _check(runtime: Runtime, fetched: Fetched) -> ImageFacts:
    settings = runtime.settings
    reader = FaithfulReader(fetched.spool) if fetched.spool.length else None
    file = reader.file if reader else BytesIO()
    try:
        return imagecheck.check(
            file,
            declared_type=fetched.content_type,
            max_pixels=settings.max_image_pixels,
            decode=settings.verify_decode,
        )
    except ImageError:
        if reader and reader.fault:  # a decoder takes any error for a damaged image
            raise reader.fault from None
        raise


def _arrived(image: ClaimedImage, place: StoredObject) -> StoredImage:
    return StoredImage(image.claim.job_id, image.index, image.submission_id, image.upstream_id, place)
