"""Which picture of a job each picture of an answer is."""

from collections.abc import Sequence

from shared.db.intents import Request
from shared.db.submissions import BoughtImage
from shared.lifecycle import ImageState
from worker.providers.contract import UpstreamImage


def bought(missing: Sequence[int], request: Request, images: Sequence[UpstreamImage]) -> tuple[BoughtImage, ...]:
    """Give each picture its index: those asked for, more if more came, and a failed one for each that did not."""
    asked = list(missing)
    # Behind every index that the job has: a picture that came unasked must not meet one that is stored already.
    first = max([request.get("n", 1), *(index + 1 for index in asked)])
    extra = range(first, first + max(len(images) - len(asked), 0))
    found = [_as_bought(index, image) for index, image in zip([*asked, *extra], images, strict=False)]
    short = [
        BoughtImage(index, ImageState.FAILED, error_code="not_delivered", error="the provider gave fewer images")
        for index in asked[len(images) :]
    ]
    return (*found, *short)


def _as_bought(index: int, image: UpstreamImage) -> BoughtImage:
    return BoughtImage(
        index,
        image.state,
        image.upstream_id,
        image.link,
        image.link_expires_at,
        image.error_code,
        image.error,
    )
