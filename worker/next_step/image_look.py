"""Decides about an image after its provider was asked for it.

One look may be wrong: a provider that restarts, or lags behind its own writes, answers 404 for an image that it will
show again, and one that tries a failed generation again calls it failed meanwhile. Several looks over some time are
believed.
"""

from dataclasses import dataclass, replace
from typing import Final

from shared.images import ClaimedImage, ImageChange
from shared.lifecycle import IMAGE_UNFINISHED, ImageState
from shared.notes import short_note
from worker.next_step import unfinished
from worker.next_step.inputs import DecisionInputs
from worker.next_step.look import MISSING_LOOKS
from worker.next_step.unfinished import NO_LINK
from worker.providers.asking import GONE
from worker.providers.contract import UNSURE_LINK, Refused, UpstreamImage

_LINK_LATE_SHARE: Final = 1 / 3  # a link that comes later than its state is a matter of minutes


@dataclass(frozen=True, slots=True)
class ImageLook:
    """What one poll brought for one image: `found` is None if it brought nothing, and `refusal` may say why.

    `others_found`: it found another image of the account.
    """

    found: UpstreamImage | None
    refusal: Refused | None = None
    others_found: bool = False


def is_there(found: UpstreamImage) -> bool:
    """Tell whether the provider knows this image."""
    return found.error_code != GONE


def image_after_look(inputs: DecisionInputs, image: ClaimedImage, look: ImageLook) -> ImageChange:
    """Decide after a look. After the collection deadline, an unfinished image has failed, unless a link may give it.

    That link may be of any look: the last one may have been refused.
    """
    change = _after_answer(inputs, image, look)
    if not (image.given_up and change.state in IMAGE_UNFINISHED):
        return change
    if change.link is not None or image.link is not None:
        return replace(change, state=ImageState.READY, error_code=None, error=None, lacking_looks=0)
    code, why = unfinished.why(change, look.found, look.refusal)
    return _changed(image, ImageState.FAILED, error_code=code, error=short_note(why))


def _after_answer(inputs: DecisionInputs, image: ClaimedImage, look: ImageLook) -> ImageChange:
    found = look.found if image.state in IMAGE_UNFINISHED else None
    if found is not None and found.sure and not _was_finished(image, found):
        link, ends = found.link or found.early_link, found.link_expires_at
        words = {"error_code": found.error_code, "error": found.error}
        return replace(_changed(image, found.state, **words), link=link, link_expires_at=ends, stated=found.stated)
    as_it_was = replace(
        _changed(image, image.state, error_code=image.error_code, error=image.error),
        link_expires_at=image.link_expires_at,
        lacking_looks=image.lacking_looks,
    )
    if found is None:
        return as_it_was
    return _with_last_link(after_unsure_look(inputs, as_it_was, found, image, others_found=look.others_found), found)


def _with_last_link(change: ImageChange, found: UpstreamImage) -> ImageChange:
    """Let an image that is believed failed be fetched if its provider gives a link to it all the same.

    What that gives is kept for a person: the failure and the link cannot both be true.
    """
    if change.state is not ImageState.FAILED or found.early_link is None:
        return change
    said = short_note(f"{change.error}; but its provider gives a link to it")
    ready = replace(change, state=ImageState.READY, error_code=UNSURE_LINK, error=said)
    return replace(ready, link=found.early_link, link_expires_at=None, stated=found.stated)


def _was_finished(image: ClaimedImage, found: UpstreamImage) -> bool:
    """Tell whether a failed image was called finished by the look before, or failed once since it was.

    Then one failure is as little sure as the missing link was.
    """
    doubted = image.lacking_looks > 0 and image.error_code in {NO_LINK, found.error_code}
    return doubted and found.state is ImageState.FAILED


def _changed(
    image: ClaimedImage, state: ImageState, *, error_code: str | None = None, error: str | None = None
) -> ImageChange:
    return ImageChange(image.claim, image.index, image.upstream_id, state, error_code=error_code, error=error)


def after_unsure_look(
    inputs: DecisionInputs,
    before: ImageChange,
    found: UpstreamImage,
    image: ClaimedImage,
    *,
    others_found: bool = False,
) -> ImageChange:
    """Decide after a look that found an image missing or failed: as `before` with a note, or failed if believed.

    `others_found` does not count for images bought with another key, because this key may not see them.
    """
    code = found.error_code or NO_LINK
    same = image.lacking_looks > 0 and image.error_code == code
    looks = image.lacking_looks + 1 if same else 1
    what = found.error or "the provider gives no link to this picture"
    said = f"{what}, {looks} time(s) since {image.lacking_clock} UTC"
    noted = replace(before, lacking_looks=looks, error_code=code, error=said)
    if not same or not _is_long_enough(inputs, code, looks, image.lacking_seconds):
        return noted
    if code != GONE or ((others_found or image.others_found) and image.key_id in {None, inputs.key_id}):
        final = found.error_code if found.state is ImageState.FAILED else None
        return replace(noted, state=found.state, lacking_looks=0, error_code=final, error=said if final else None)
    return replace(noted, error=f"{said}; no other image of this account was found since")


def _is_long_enough(inputs: DecisionInputs, code: str, looks: int, seconds: float) -> bool:
    needed = inputs.settings.believe_seconds * (1 if code == GONE else _LINK_LATE_SHARE)
    return looks >= MISSING_LOOKS and seconds >= needed
