"""Decides about an image after a copy of it failed: another download, another link, or its end."""

from dataclasses import dataclass, replace
from typing import Final

from shared.images import ClaimedImage, ImageChange
from shared.lifecycle import ImageState
from shared.notes import short_note
from shared.settings import Settings
from worker.imagecheck import NotAnImage, TooSmall
from worker.next_step.image_look import after_unsure_look
from worker.next_step.inputs import CopyWait, DecisionInputs
from worker.next_step.lost_call import LONGEST_LOOK_WAIT
from worker.providers.contract import UNSURE_LINK, Refused, UpstreamImage
from worker.transport.address_guard import AddressRefused
from worker.transport.fetch_errors import FetchError, LinkExpired, Truncated
from worker.transport.spool import TransferError

NewLink = UpstreamImage | Refused | None
"""What the provider said when it was asked for another link; None if it could not be asked, or said nothing."""
_EXPIRY_MARGIN: Final = 60.0  # seconds: the clocks of host, database and provider differ
_LEAST_WAIT: Final = 0.5
_DOUBLINGS: Final = 10


@dataclass(frozen=True, slots=True)
class FailedCopy:
    """One failed download of one image."""

    image: ClaimedImage
    error: TransferError
    renewable: bool
    """Whether the provider can be asked for another link."""
    kept: bool = False
    """Whether the link leads to an answer that we keep, and not to a host."""

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
    def needs_new_link(self) -> bool:
        """Whether the provider is to be asked for another link."""
        return self.renewable and (self.link_is_over or isinstance(self.error, LinkExpired | AddressRefused))

    @property
    def tries(self) -> int:
        """The number of spent tries of the image."""
        return self.image.tries + (not self.passing)

    @property
    def is_page(self) -> bool:
        """Whether something came in the image's place: a host that is down may say so with status 200."""
        nothing_of_it = isinstance(self.error, NotAnImage) and self.error.begins_as is None
        return (nothing_of_it or isinstance(self.error, TooSmall)) and not self.kept

    def most_tries(self, settings: Settings) -> int:
        """Return how many downloads the image has; a page passes as an outage does, within hours."""
        return max(settings.fetch_tries, settings.fetch_page_tries if self.is_page else 0)

    def is_final(self, most_tries: int) -> bool:
        """Tell whether no further download can help."""
        over = self.link_is_over and not self.renewable
        if not self.error.retryable:
            # What a link says does not change, but its provider may give another one.
            other = self.renewable and isinstance(self.error, AddressRefused) and not self.image.given_up
            return not other or self.tries >= most_tries
        return over if self.passing else over or self.tries >= most_tries

    @property
    def words(self) -> str:
        """Why the image ends."""
        said = str(self.error)
        over = self.link_is_over and not self.renewable and self.passing
        return short_note(f"{said}; its link is over" if over else said)


def image_after_failed_copy(inputs: DecisionInputs, failure: FailedCopy) -> ImageChange:
    """Decide after a failed download: the image ends, or stays ready with this failure counted."""
    image = failure.image
    noted = image.lacking_looks > 0 or image.error_code == UNSURE_LINK
    change = ImageChange(
        image.claim,
        image.index,
        image.upstream_id,
        ImageState.READY,
        tries=failure.tries,
        error_code=image.error_code if noted else None,
        error=image.error if noted else None,
        lacking_looks=image.lacking_looks,
        short_sha256=failure.error.sha256 if isinstance(failure.error, Truncated) else None,
    )
    if not failure.is_final(failure.most_tries(inputs.settings)):
        return change
    return replace(change, state=ImageState.FAILED, lacking_looks=0, error_code=failure.error.code, error=failure.words)


def image_after_new_link(
    inputs: DecisionInputs, image: ClaimedImage, change: ImageChange, look: NewLink
) -> ImageChange:
    """Decide after the provider was asked for another link; `change` is what the failed download led to."""
    if not isinstance(look, UpstreamImage):
        return change
    if not look.sure or look.state is ImageState.FAILED:
        # It was finished before: a failure that is said once may be as wrong as the link was.
        return after_unsure_look(inputs, change, look, image)
    found = replace(change, error_code=None, error=None, lacking_looks=0)
    if look.link is None:
        return found
    return replace(found, link=look.link, link_expires_at=look.link_expires_at, stated=look.stated)


def wait_after_failed_copy(inputs: DecisionInputs, failure: FailedCopy, change: ImageChange, look: NewLink) -> CopyWait:
    """Return when an image that did not end is tried again, and why it waits."""
    image, error = failure.image, failure.error
    if change.lacking_looks > image.lacking_looks:
        return until_next_copy(inputs, image, change.error_code or error.code, change.error or str(error))
    return until_next_copy(inputs, image, error.code, str(error), at_least=_asked_wait(inputs, failure, look))


def _asked_wait(inputs: DecisionInputs, failure: FailedCopy, look: NewLink) -> float:
    """Return the seconds that a server asked for, or that a page in the image's place is waited out."""
    asked = [getattr(failure.error, "retry_after", None), look.after_seconds if isinstance(look, Refused) else None]
    if isinstance(failure.error, NotAnImage | TooSmall) and not failure.kept:
        most = inputs.settings.believe_seconds
        asked.append(min(most / inputs.settings.fetch_tries * 2 ** min(failure.image.tries, _DOUBLINGS), most))
    return max(seconds or 0.0 for seconds in asked)


def until_next_copy(
    inputs: DecisionInputs, image: ClaimedImage, code: str, note: str, *, at_least: float = 0.0
) -> CopyWait:
    """Return the wait before an image is tried again. It grows, to at most half of the time that its link has left.

    `at_least` is the server's own wait. It is advice; without an expiry of the link, it counts up to a quarter of an
    hour.
    """
    tries = image.job_tries + 1
    grown, left = inputs.backoff(tries), image.link_left
    if left is None:
        wait = max(grown, min(at_least, LONGEST_LOOK_WAIT))
    else:
        most = left / 2 if left > 0 else _EXPIRY_MARGIN / 4
        wait = min(max(grown, at_least), max(most, _LEAST_WAIT))
    return CopyWait(wait, code, short_note(note), tries)
