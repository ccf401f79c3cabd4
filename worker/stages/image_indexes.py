"""Gives the images of an answer their indexes in the job."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shared.db.payments.intents import Request
from shared.db.payments.submissions import BoughtImage
from shared.lifecycle import ImageState
from worker.providers.contract import UpstreamImage

UNASKED: Final = 4
"""The number of additional images that a job keeps; further ones in an answer are listed as unowned."""


def assign_indexes(
    missing: Sequence[int], request: Request, images: Sequence[UpstreamImage]
) -> tuple[BoughtImage, ...]:
    """Give each image its index: those asked for, a few additional ones, and a failed one for each missing image."""
    asked = list(missing)
    images = _with_links_of_their_own(images)[: len(asked) + UNASKED]
    # After every index of the job: an additional image must not collide with a stored one.
    first = max([request.get("n", 1), *(index + 1 for index in asked)])
    extra = range(first, first + max(len(images) - len(asked), 0))
    found = [_as_bought(index, image) for index, image in zip([*asked, *extra], images, strict=False)]
    short = [
        BoughtImage(index, ImageState.FAILED, error_code="not_delivered", error="the provider gave fewer images")
        for index in asked[len(images) :]
    ]
    return (*found, *short)


def surplus(missing: Sequence[int], images: Sequence[UpstreamImage]) -> tuple[BoughtImage, ...]:
    """Return the images of an answer that `assign_indexes` leaves out because they are too many for the job."""
    rest = _with_links_of_their_own(images)[len(missing) + UNASKED :]
    return tuple(_as_bought(index, image) for index, image in enumerate(rest))


def _with_links_of_their_own(images: Sequence[UpstreamImage]) -> list[UpstreamImage]:
    """Return the images of an answer without a link that an earlier one has: that would store one image as two.

    An image with an id may get a link of its own later. One without an id is left out.
    """
    seen, found = set[str](), list[UpstreamImage]()
    for image in images:
        if image.link is None or image.link not in seen:
            found.append(image)
        elif image.upstream_id is not None:
            found.append(replace(image, state=ImageState.PENDING, link=None, link_expires_at=None, stated=None))
        if image.link is not None:
            seen.add(image.link)
    return found


def _as_bought(index: int, image: UpstreamImage) -> BoughtImage:
    if not image.sure and image.upstream_id is not None:
        # A later look may say otherwise.
        return BoughtImage(index, ImageState.PENDING, image.upstream_id)
    return BoughtImage(
        index,
        image.state,
        image.upstream_id,
        image.link,
        image.link_expires_at,
        image.error_code,
        image.error,
        image.stated,
    )
