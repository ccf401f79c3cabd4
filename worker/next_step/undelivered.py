"""Decides whether a paid job brings no image by its provider's fault: then the next job may bring none either."""

from collections.abc import Sequence
from typing import Final

from shared.lifecycle import ImageState
from worker.next_step.known import LookedPicture, Picture
from worker.next_step.look import MISSING_LOOKS
from worker.next_step.unfinished import NO_LINK
from worker.providers.asking import GONE
from worker.providers.contract import UNSURE_LINK, UpstreamImage

REFUSED_AFTER_PURCHASE: Final = "content_refused_after_purchase"
_UNLINKED: Final = "the provider calls its images finished, and gives no link to them"
_OF_ONE_JOB: Final = frozenset({REFUSED_AFTER_PURCHASE, GONE})
"""A safety check says nothing of other prompts. What is gone is judged by all that is gone."""


def nothing_bought(pictures: Sequence[Picture]) -> str | None:
    """Return why a purchase brings no image, if its answer calls each of them failed."""
    return _why(pictures) if all(picture.state is ImageState.FAILED for picture in pictures) else None


def nothing_found(pictures: Sequence[LookedPicture]) -> str | None:
    """Return why a job brings no image, once: at the look that ends it, or that ends the last doubt about its images.

    An image is lacking if look after look calls it failed. One that only has no link may yet count as delivered.
    """
    failed = [picture.state is ImageState.FAILED or _is_unsure(picture) for picture in pictures]
    looks = [0 if picture.error_code == NO_LINK else picture.lacking_looks for picture in pictures]
    lacking = [over or count >= MISSING_LOOKS for over, count in zip(failed, looks, strict=True)]
    return _why(pictures) if all(lacking) and (all(failed) or MISSING_LOOKS in looks) else None


def nothing_linked(looks: int, found: Sequence[UpstreamImage | None]) -> str | None:
    """Return why a job brings no image, if its provider calls each of them finished and gives no link to any.

    That is said at the fifth look, and at ever fewer of the later ones, because a link may come late.
    """
    rounds = looks // MISSING_LOOKS
    if looks % MISSING_LOOKS or rounds & (rounds - 1) or not rounds:
        return None
    return _UNLINKED if all(look is not None and look.lacks_link for look in found) else None


def _is_unsure(picture: Picture) -> bool:
    """Tell whether a picture is called failed, and fetched only for a person to look at."""
    return picture.state is ImageState.READY and picture.error_code == UNSURE_LINK


def _why(pictures: Sequence[Picture]) -> str | None:
    if not pictures or any(picture.error_code in _OF_ONE_JOB for picture in pictures):
        return None
    return f"{pictures[0].error_code}: {pictures[0].error}"
