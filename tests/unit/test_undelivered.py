"""When a paid job brings no image by its provider's fault, as a table of its images."""

from dataclasses import dataclass

import pytest

from shared.lifecycle import ImageState
from worker import next_step
from worker.next_step import MISSING_LOOKS
from worker.providers.contract import UNSURE_LINK, UpstreamImage


@dataclass(frozen=True)
class Image:
    state: ImageState
    error_code: str | None = None
    lacking_looks: int = 0
    error: str | None = "the model failed"
    link_expires_at: None = None


def failed(code: str = "generation_failed") -> Image:
    return Image(ImageState.FAILED, code)


def lacking(looks: int, code: str = "generation_failed") -> Image:
    return Image(ImageState.PROCESSING, code, looks)


READY, STORED, OPEN = (Image(state) for state in (ImageState.READY, ImageState.STORED, ImageState.PENDING))
UNSURE = Image(ImageState.READY, UNSURE_LINK)
BELIEVED = MISSING_LOOKS


@pytest.mark.parametrize(
    "images",
    [
        [failed()],
        [failed("never_finished"), failed()],
        [lacking(BELIEVED)],
        [failed("result_not_downloadable")],
        [lacking(BELIEVED + 7), lacking(BELIEVED)],
        [failed(), lacking(BELIEVED)],
        [UNSURE],
        [UNSURE, failed()],
    ],
)
def test_a_look_that_ends_the_last_doubt_says_that_a_job_brings_nothing(images: list[Image]) -> None:
    assert next_step.nothing_found(images) == f"{images[0].error_code}: the model failed"


@pytest.mark.parametrize(
    "images",
    [
        [],
        [OPEN],
        [READY],
        [failed(), READY],
        [failed(), STORED],
        [failed(), OPEN],
        [lacking(BELIEVED - 1)],
        [lacking(BELIEVED + 1)],  # it was counted at an earlier look
        [lacking(BELIEVED), lacking(1)],
        [failed("content_refused_after_purchase")],
        [failed(), failed("content_refused_after_purchase")],
        [failed("upstream_gone")],
        [lacking(BELIEVED, "upstream_gone")],
        [lacking(BELIEVED, "result_not_downloadable")],  # PostEverywhere's library may be where it is to stay
    ],
)
def test_a_job_that_may_bring_an_image_or_is_refused_for_its_prompt_is_not_counted(images: list[Image]) -> None:
    assert next_step.nothing_found(images) is None


NO_LINK = UpstreamImage(ImageState.PROCESSING, lacks_link=True)
DRAWN = UpstreamImage(ImageState.PROCESSING)


def test_a_job_whose_images_are_finished_without_links_is_counted_at_the_fifth_look_and_then_more_rarely() -> None:
    told = [look for look in range(1, 50) if next_step.nothing_linked(look, [NO_LINK])]
    assert told == [5, 10, 20, 40]


@pytest.mark.parametrize("found", [[DRAWN], [None], [NO_LINK, DRAWN], [NO_LINK, None]])
def test_a_job_with_an_image_that_is_still_drawn_or_was_not_seen_is_not_counted(
    found: list[UpstreamImage | None],
) -> None:
    assert next_step.nothing_linked(5, found) is None


def test_a_purchase_brings_nothing_if_its_answer_calls_every_image_failed() -> None:
    assert next_step.nothing_bought([failed(), failed("not_delivered")]) == "generation_failed: the model failed"
    for images in ([], [failed(), READY], [OPEN], [failed("content_refused_after_purchase")]):
        assert next_step.nothing_bought(images) is None
