"""Puts the bytes of one image into the bucket. While the bucket refuses, it holds an image whose link may die."""

import time
from collections.abc import Mapping
from typing import Any

import anyio
import structlog

from shared.backoff import delay
from shared.db.jobs import stored_images
from shared.db.jobs.stored_images import StoredObject
from shared.db.jobs.transitions import renew
from shared.images import ClaimedImage
from shared.lifecycle import Stage
from worker.imagecheck import ImageFacts
from worker.runtime import Runtime
from worker.transport.digested import Stored
from worker.transport.download import Fetched
from worker.transport.quick_put import Put
from worker.transport.storage import key_for
from worker.transport.storage_errors import StorageError

_log = structlog.get_logger(__name__)


async def put_object(
    runtime: Runtime,
    image: ClaimedImage,
    fetched: Fetched,
    facts: ImageFacts,
    *,
    patience: float,
    verified: bool = True,
) -> StoredObject:
    """Put the object. While the bucket refuses, hold an image whose link may die for `patience` seconds."""
    spool = fetched.spool
    key = key_for(str(image.claim.job_id), image.index, spool.sha256, facts.extension, verified=verified)
    about = {
        "content_type": facts.content_type,
        "metadata": {"genqueue-job": str(image.claim.job_id)},
        "attached": facts.attached,
    }
    if not verified:
        await runtime.write(stored_images.announce, image.claim.job_id, key)
    give_up = time.monotonic() + patience
    tries = 0
    while True:
        try:
            await _put(runtime, key, spool, about)
        except StorageError as error:
            runtime.bucket_refused(f"{error.code}: {error}")
            job, said = str(image.claim.job_id), str(error)
            _log.warning("bucket_refuses", code=error.code, said=said, job=job, index=image.index, tries=tries)
            if time.monotonic() >= give_up:
                raise
            tries += 1
            await _wait_for_bucket(runtime, image, tries)
        else:
            runtime.bucket_took()
            return _stored(runtime, fetched, facts, key)


async def _put(runtime: Runtime, key: str, spool: Stored, about: Mapping[str, Any]) -> None:
    """Take the short cut, or the whole way where there is none; raises `StorageError` and `SpoolError`."""
    quick = await runtime.quick_put.put(runtime.storage, key, spool, **about)
    if quick is Put.TAKEN:
        return
    await runtime.in_thread(runtime.storage.put, key, spool, **about)
    if quick is Put.REFUSED:
        runtime.quick_put.leave()


async def _wait_for_bucket(runtime: Runtime, image: ClaimedImage, tries: int) -> None:
    await anyio.sleep(delay(tries, first_seconds=0.5, max_seconds=15, random=runtime.random))
    await runtime.write(renew, image.claim, lease_seconds=runtime.leases[Stage.TRANSFER])


def _stored(runtime: Runtime, fetched: Fetched, facts: ImageFacts, key: str) -> StoredObject:
    return StoredObject(
        bucket=runtime.settings.s3_bucket,
        key=key,
        sha256=bytes.fromhex(fetched.spool.sha256),
        bytes=fetched.spool.length,
        content_type=facts.content_type,
        width=facts.width,
        height=facts.height,
    )
