"""Follows a failed copy of an image: asks for another link if that may help, and writes what was decided."""

import structlog

from shared.db import pauses
from shared.db.engine import Connection
from shared.db.jobs import images
from shared.images import ClaimedImage, ImageChange
from shared.lifecycle import IMAGE_FINAL
from worker import next_step
from worker.evidence.replies import parse_link
from worker.next_step import CopyWait, FailedCopy, NewLink
from worker.providers.contract import Refused, UpstreamImage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.account_blame import blame_account
from worker.stages.look_health import RefusedLook, record_looks
from worker.stages.look_requests import ask_all
from worker.stages.whose_refusal import is_of_one_job
from worker.transport.spool import TransferError

_log = structlog.get_logger(__name__)


async def follow_failure(
    runtime: Runtime, account: ServedAccount, image: ClaimedImage, error: TransferError
) -> CopyWait | None:
    """Ask the provider again if that may help, otherwise end the image; None once the image is final."""
    inputs, inside = runtime.decision_inputs(account), parse_link(image.link or "") is not None
    failure = FailedCopy(image, error, is_renewable(account, image), inside)
    _log.info("copy_failed", index=image.index, code=error.code, tries=image.job_tries + 1)
    change = next_step.image_after_failed_copy(inputs, failure)
    look: NewLink = None
    of_one_job = False
    if change.state not in IMAGE_FINAL and failure.needs_new_link:
        look = await _ask_again(runtime, account, image)
        if isinstance(look, Refused):
            of_one_job = await is_of_one_job(runtime, account, look, [image.claim.job_id], copying=True)
        change = next_step.image_after_new_link(inputs, image, change, look)
    heard = None if of_one_job else look
    await runtime.write(_write_failure, runtime, account, failure, change, heard)
    if change.state in IMAGE_FINAL:
        runtime.metrics.images_lost.labels(account.name, change.error_code or error.code).inc()
        return None
    return next_step.wait_after_failed_copy(inputs, failure, change, look)


def is_renewable(account: ServedAccount, image: ClaimedImage) -> bool:
    """Tell whether the provider can be asked for another link to the image."""
    return account.can_look and image.upstream_id is not None


async def _ask_again(runtime: Runtime, account: ServedAccount, image: ClaimedImage) -> NewLink:
    """Ask the provider for the image's current link; None if its windows have no room or it gives no answer."""
    looks = await ask_all(runtime, account, [image])
    return looks.of(image) or looks.refusal


def _write_failure(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount,
    failure: FailedCopy,
    change: ImageChange,
    look: NewLink,
) -> None:
    """Record a failed download: on the account first, because everybody locks the account's row first."""
    job = failure.image.claim.job_id
    if isinstance(look, UpstreamImage):
        found = next_step.is_there(look)
        record_looks(runtime, account, connection, answered=True, found=found, refusal=None)
    elif look is not None:
        record_looks(runtime, account, connection, answered=False, found=False, refusal=RefusedLook(look, [job]))
    reason = f"{failure.error.code}: {failure.error}"
    pauses.record_undelivered(connection, account.name, job, reason=reason, probing=runtime.probing)
    images.change(connection, [change])
    blame_account(connection, runtime, account, [change])
