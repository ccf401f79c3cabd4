"""Decides after a failed copy of an image: another download, another link, or its end."""

from dataclasses import dataclass, replace
from typing import Final

import structlog

from shared.db import pauses, rate_windows
from shared.db.engine import Connection
from shared.db.jobs import images
from shared.db.jobs.images import ClaimedImage, ImageChange
from shared.lifecycle import IMAGE_FINAL, ImageState
from shared.settings import Settings
from worker.evidence.replies import parse_link
from worker.imagecheck import NotAnImage, TooSmall
from worker.next_step import LONGEST_LOOK_WAIT, CopyWait
from worker.providers.contract import Refused, UpstreamImage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages import missing_images
from worker.stages.look_health import record_looks
from worker.transport.fetch_errors import FetchError, LinkExpired, Truncated
from worker.transport.spool import TransferError

_log = structlog.get_logger(__name__)
_EXPIRY_MARGIN: Final = 60.0  # seconds: the clocks of host, database and provider differ
_LEAST_WAIT: Final = 0.5
_DOUBLINGS: Final = 10


@dataclass(frozen=True, slots=True)
class _Failure:
    """One failed download of one image."""

    image: ClaimedImage
    error: TransferError
    renewable: bool
    """Whether the provider can be asked for another link."""

    @property
    def passing(self) -> bool:
        """Whether the fault may pass: a link's faults pass or end with the link; its content may be wrong permanently.

        A refused link that has already given bytes counts as permanent too, because those bytes are kept.
        """
        refused_later = isinstance(self.error, LinkExpired) and self.image.refused_sha256
        return isinstance(self.error, FetchError) and not refused_later

    @property
    def link_is_over(self) -> bool:
        """Whether the link has certainly expired."""
        left = self.image.link_left
        return left is not None and left <= -_EXPIRY_MARGIN

    @property
    def tries(self) -> int:
        """The number of spent tries of the image."""
        return self.image.tries + (not self.passing)

    @property
    def is_page(self) -> bool:
        """Whether something came in the image's place: a host that is down may say so with status 200."""
        nothing_of_it = isinstance(self.error, NotAnImage) and self.error.begins_as is None
        return (nothing_of_it or isinstance(self.error, TooSmall)) and not parse_link(self.image.link or "")

    def most_tries(self, settings: Settings) -> int:
        """Return how many downloads the image has; a page passes as an outage does, within hours."""
        return max(settings.fetch_tries, settings.fetch_page_tries if self.is_page else 0)

    def is_final(self, most_tries: int) -> bool:
        """Tell whether no further download can help."""
        over = self.link_is_over and not self.renewable
        if not self.error.retryable:
            return True
        return over if self.passing else over or self.tries >= most_tries

    @property
    def words(self) -> str:
        """Why the image ends."""
        said = str(self.error)
        over = self.link_is_over and not self.renewable and self.passing
        return f"{said}; its link is over"[:500] if over else said[:500]


def is_renewable(account: ServedAccount, image: ClaimedImage) -> bool:
    """Tell whether the provider can be asked for another link to the image."""
    return account.wire.poll_batch > 0 and image.upstream_id is not None


async def follow_failure(
    runtime: Runtime, account: ServedAccount, image: ClaimedImage, error: TransferError
) -> CopyWait | None:
    """Ask the provider again if that may help, otherwise end the image; None once the image is final."""
    failure = _Failure(image, error, is_renewable(account, image))
    _log.info("copy_failed", index=image.index, code=error.code, tries=image.job_tries + 1)
    look, change = None, _unchanged(failure)
    if failure.is_final(failure.most_tries(runtime.settings)):
        change = replace(change, state=ImageState.FAILED, lacking_looks=0, error_code=error.code, error=failure.words)
    elif failure.renewable and (failure.link_is_over or isinstance(error, LinkExpired)):
        look = await _ask_again(runtime, account, image)
        change = _after_look(runtime, account, image, change, look)
    await runtime.write(_write_failure, runtime, account, failure, change, look)
    if change.state in IMAGE_FINAL:
        runtime.metrics.images_lost.labels(account.name, change.error_code or error.code).inc()
        return None
    if change.lacking_looks > image.lacking_looks:
        return retry_later(runtime, image, change.error_code or error.code, change.error or str(error))
    return retry_later(runtime, image, error.code, str(error), at_least=_asked_wait(runtime, failure, look))


def _unchanged(failure: _Failure) -> ImageChange:
    """Return the image as it was, with this failure counted."""
    image = failure.image
    return ImageChange(
        image.claim,
        image.index,
        image.upstream_id,
        ImageState.READY,
        tries=failure.tries,
        error_code=image.error_code if image.lacking_looks else None,
        error=image.error if image.lacking_looks else None,
        lacking_looks=image.lacking_looks,
        short_sha256=failure.error.sha256 if isinstance(failure.error, Truncated) else None,
    )


def _asked_wait(runtime: Runtime, failure: _Failure, look: UpstreamImage | Refused | None) -> float:
    """Return the seconds that a server asked for."""
    asked = [getattr(failure.error, "retry_after", None), look.after_seconds if isinstance(look, Refused) else None]
    if isinstance(failure.error, NotAnImage | TooSmall) and not parse_link(failure.image.link or ""):
        first, most = runtime.settings.believe_seconds / runtime.settings.fetch_tries, runtime.settings.believe_seconds
        asked.append(min(first * 2 ** min(failure.image.tries, _DOUBLINGS), most))
    return max(seconds or 0.0 for seconds in asked)


def _after_look(
    runtime: Runtime,
    account: ServedAccount,
    image: ClaimedImage,
    change: ImageChange,
    look: UpstreamImage | Refused | None,
) -> ImageChange:
    """Return the image's state after its provider was asked for a new link."""
    if not isinstance(look, UpstreamImage):
        return change
    if not look.sure:
        return missing_images.after_look(runtime, account, change, look, image)
    found = replace(change, error_code=None, error=None, lacking_looks=0)
    if look.state is ImageState.FAILED:
        return replace(found, state=look.state, error_code=look.error_code, error=look.error)
    if look.link is None:
        return found
    return replace(found, link=look.link, link_expires_at=look.link_expires_at, stated=look.stated)


def _write_failure(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount,
    failure: _Failure,
    change: ImageChange,
    look: UpstreamImage | Refused | None,
) -> None:
    """Record a failed download: on the account first, because everybody locks the account's row first."""
    if isinstance(look, UpstreamImage):
        found = missing_images.is_there(look)
        record_looks(runtime, account, connection, answered=True, found=found, refusal=None)
    elif look is not None:
        record_looks(runtime, account, connection, answered=False, found=False, refusal=look)
    reason = f"{failure.error.code}: {failure.error}"
    job = failure.image.claim.job_id
    pauses.record_failed_download(connection, account.name, job, reason=reason, probing=runtime.probing)
    images.change(connection, [change])
    missing_images.blame_account(connection, runtime, account, [change])


async def _ask_again(runtime: Runtime, account: ServedAccount, image: ClaimedImage) -> UpstreamImage | Refused | None:
    """Ask the provider for the image's current link; None if its windows have no room or it gives no answer."""
    granted, _wait = await runtime.sql(rate_windows.grant, account.name, "poll", 1)
    if not granted or image.upstream_id is None:
        return None
    fresh = await account.wire.poll([image.upstream_id])
    return fresh if isinstance(fresh, Refused) else fresh.get(image.upstream_id)


def retry_later(runtime: Runtime, image: ClaimedImage, code: str, note: str, *, at_least: float = 0.0) -> CopyWait:
    """Return the wait before an image is tried again. It grows, to at most half of the time that its link has left.

    `at_least` is the server's own wait. It is advice; without an expiry of the link, it counts up to a quarter of an
    hour.
    """
    tries = image.job_tries + 1
    grown = runtime.backoff(tries)
    left = image.link_left
    if left is None:
        wait = max(grown, min(at_least, LONGEST_LOOK_WAIT))
    else:
        most = left / 2 if left > 0 else _EXPIRY_MARGIN / 4
        wait = min(max(grown, at_least), max(most, _LEAST_WAIT))
    return CopyWait(wait, code, note[:500], tries)
