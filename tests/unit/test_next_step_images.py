"""Where an image goes next, as tables: what is known of it, and where that leads. No database, no network."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from shared.images import ClaimedImage, ImageChange
from shared.lifecycle import ImageState, JobState, Outcome
from shared.moves import Claim
from tests.support.decisions import POLICY, SETTINGS
from worker import next_step
from worker.imagecheck import UNKNOWN, ImageError, ImageFacts, IncompleteImage, NotAnImage, TooManyPixels, TooSmall
from worker.next_step import MISSING_LOOKS, FailedCopy, ImageLook, RefusedBytes
from worker.next_step.unfinished import NO_LINK
from worker.providers.asking import GONE
from worker.providers.contract import Refused, RetryRule, UpstreamImage
from worker.transport.address_guard import AddressRefused, LinkUnusable
from worker.transport.fetch_errors import FetchError, LinkExpired, Truncated
from worker.transport.spool import TransferError

PENDING, PROCESSING, READY, FAILED = (
    ImageState.PENDING,
    ImageState.PROCESSING,
    ImageState.READY,
    ImageState.FAILED,
)
LONG = SETTINGS.believe_seconds
IMAGE = ClaimedImage(
    claim=Claim(UUID(int=1), 3),
    job_state=JobState.PENDING,
    job_tries=0,
    batch_id=UUID(int=2),
    given_up=False,
    index=0,
    upstream_id="u1",
    state=PENDING,
    link=None,
    link_expires_at=None,
    link_seconds=None,
    tries=0,
    error_code=None,
    error=None,
    lacking_looks=0,
    lacking_seconds=0.0,
    lacking_clock="12:00:00",
    others_found=False,
    short_sha256=None,
    refused_sha256=None,
    model="",
    age_seconds=30.0,
    submission_id=UUID(int=3),
    key_id="k1",
    stated_width=None,
    stated_height=None,
)
HERE = UpstreamImage(READY, link="https://host.example/a", link_expires_at=datetime(2026, 1, 1, tzinfo=UTC))
DRAWING = UpstreamImage(PROCESSING)
MODERATED = UpstreamImage(FAILED, error_code="content_refused", error="no")
MISSING = UpstreamImage(FAILED, error_code=GONE, error="404", sure=False)
MISSED = replace(IMAGE, error_code=GONE, lacking_looks=MISSING_LOOKS - 1, lacking_seconds=LONG, others_found=True)
REFUSED = Refused(Outcome.REJECTED, RetryRule.AFTER, "rate_limited", "slow down", after_seconds=7.0)


def looked(image: ClaimedImage, found: UpstreamImage | None, **more: Any) -> tuple[ImageState, str | None, int]:
    change = next_step.image_after_look(POLICY, image, ImageLook(found, **more))
    return change.state, change.error_code, change.lacking_looks


@pytest.mark.parametrize(
    ("image", "found", "state", "code"),
    [
        (IMAGE, None, PENDING, None),
        (IMAGE, DRAWING, PROCESSING, None),
        (IMAGE, HERE, READY, None),
        (IMAGE, MODERATED, FAILED, "content_refused"),
        (replace(IMAGE, state=READY), MODERATED, READY, None),  # it is not asked for: a link is known
        (replace(IMAGE, given_up=True), DRAWING, FAILED, "never_finished"),
        (replace(IMAGE, given_up=True), None, FAILED, "never_finished"),
        (replace(IMAGE, given_up=True), HERE, READY, None),
    ],
)
def test_a_look_that_is_sure_decides_and_the_last_bound_ends_what_is_open(
    image: ClaimedImage, found: UpstreamImage | None, state: ImageState, code: str | None
) -> None:
    assert looked(image, found) == (state, code, 0)


def test_a_link_that_came_before_its_state_is_tried_at_the_last_bound() -> None:
    early = replace(DRAWING, early_link="https://host.example/early")
    assert looked(IMAGE, early)[0] is PROCESSING
    change = next_step.image_after_look(POLICY, replace(IMAGE, given_up=True), ImageLook(early))
    assert (change.state, change.link) == (READY, "https://host.example/early")


@pytest.mark.parametrize(
    ("image", "others_found", "state", "looks"),
    [
        (IMAGE, True, PENDING, 1),
        (replace(MISSED, lacking_looks=MISSING_LOOKS - 2), True, PENDING, MISSING_LOOKS - 1),
        (replace(MISSED, lacking_seconds=LONG - 1), True, PENDING, MISSING_LOOKS),
        (replace(MISSED, error_code="another"), True, PENDING, 1),
        (replace(MISSED, others_found=False), False, PENDING, MISSING_LOOKS),
        (replace(MISSED, key_id="k0"), True, PENDING, MISSING_LOOKS),
        (replace(MISSED, key_id=None), False, FAILED, 0),
        (replace(MISSED, others_found=False), True, FAILED, 0),
        (MISSED, False, FAILED, 0),
    ],
)
def test_an_image_is_believed_gone_after_looks_enough_and_time_enough_if_its_own_key_finds_others(
    *, image: ClaimedImage, others_found: bool, state: ImageState, looks: int
) -> None:
    assert looked(image, MISSING, others_found=others_found)[::2] == (state, looks)


def dead(code: int = 403) -> LinkExpired:
    return LinkExpired(str(code), status=code)


READY_IMAGE = replace(IMAGE, state=READY, link="https://host.example/a", job_state=JobState.TRANSFERRING)
SPENT = replace(READY_IMAGE, tries=SETTINGS.fetch_tries)
OVER = replace(READY_IMAGE, link_seconds=-3600.0)
BAD_LINKS = (AddressRefused("10.0.0.1: a private address"), LinkUnusable("the link is not an http or https URL"))


@pytest.mark.parametrize(
    ("image", "error", "renewable", "state"),
    [
        (READY_IMAGE, FetchError("503"), True, READY),
        (SPENT, FetchError("503"), False, READY),  # a fault that passes spends nothing
        (OVER, FetchError("503"), True, READY),
        (OVER, FetchError("503"), False, FAILED),
        (OVER, dead(), False, FAILED),
        (READY_IMAGE, dead(), True, READY),
        (replace(SPENT, refused_sha256=b"x"), dead(), True, FAILED),
        (READY_IMAGE, NotAnImage("a page"), False, READY),
        (SPENT, NotAnImage("a page"), False, READY),  # a page passes within hours
        (replace(READY_IMAGE, tries=SETTINGS.fetch_page_tries), NotAnImage("a page"), True, FAILED),
        *((READY_IMAGE, refused, True, READY) for refused in BAD_LINKS),  # its provider may give another link
        *((READY_IMAGE, refused, False, FAILED) for refused in BAD_LINKS),
        *((SPENT, refused, True, FAILED) for refused in BAD_LINKS),
        *((replace(READY_IMAGE, given_up=True), refused, True, FAILED) for refused in BAD_LINKS),
    ],
)
def test_a_failed_download_ends_an_image_only_where_no_other_can_help(
    *, image: ClaimedImage, error: TransferError, renewable: bool, state: ImageState
) -> None:
    change = next_step.image_after_failed_copy(POLICY, FailedCopy(image, error, renewable))
    assert change.state is state
    assert (change.error_code == error.code) is (state is FAILED)


def test_a_kept_answer_that_is_no_image_has_no_page_to_wait_out() -> None:
    change = next_step.image_after_failed_copy(
        POLICY, FailedCopy(SPENT, NotAnImage("a page"), renewable=False, kept=True)
    )
    assert change.state is FAILED


def test_a_short_body_is_remembered_by_its_hash() -> None:
    error = Truncated("10 of 20 bytes")
    error.sha256 = b"short"
    assert (
        next_step.image_after_failed_copy(POLICY, FailedCopy(READY_IMAGE, error, renewable=True)).short_sha256
        == b"short"
    )


@pytest.mark.parametrize(
    ("image", "error", "renewable", "asks"),
    [
        (READY_IMAGE, FetchError("503"), True, False),
        (READY_IMAGE, dead(), True, True),
        (READY_IMAGE, dead(), False, False),
        (OVER, FetchError("503"), True, True),
        *((READY_IMAGE, refused, True, True) for refused in BAD_LINKS),
        *((READY_IMAGE, refused, False, False) for refused in BAD_LINKS),
    ],
)
def test_another_link_is_asked_for_where_the_old_one_is_over_and_there_may_be_one(
    *, image: ClaimedImage, error: TransferError, renewable: bool, asks: bool
) -> None:
    assert FailedCopy(image, error, renewable).needs_new_link is asks


@pytest.mark.parametrize(
    ("look", "state", "link"),
    [
        (None, READY, None),
        (REFUSED, READY, None),
        (HERE, READY, HERE.link),
        (replace(HERE, link=None), READY, None),
        (MODERATED, READY, None),
        (MISSING, READY, None),
    ],
)
def test_what_a_provider_says_when_it_is_asked_for_another_link(
    look: next_step.NewLink, state: ImageState, link: str | None
) -> None:
    before = next_step.image_after_failed_copy(POLICY, FailedCopy(READY_IMAGE, dead(), renewable=True))
    change = next_step.image_after_new_link(POLICY, READY_IMAGE, before, look)
    assert (change.state, change.link) == (state, link)


EARLY = "https://host.example/early"
LAST_LOOKS: list[tuple[UpstreamImage | None, Refused | None]] = [
    (None, REFUSED),
    (None, None),
    (DRAWING, None),
    (MISSING, None),
    (UpstreamImage(PROCESSING, lacks_link=True), None),
]


@pytest.mark.parametrize("last", LAST_LOOKS)
def test_the_last_bound_takes_the_link_that_any_look_gave(last: tuple[UpstreamImage | None, Refused | None]) -> None:
    """The last look may be refused, or leave the link out."""
    before = next_step.image_after_look(POLICY, IMAGE, ImageLook(replace(DRAWING, early_link=EARLY)))
    assert (before.state, before.link) == (PROCESSING, EARLY)
    known = replace(IMAGE, state=PROCESSING, link=EARLY, given_up=True)
    after = next_step.image_after_look(POLICY, known, ImageLook(*last))
    assert (after.state, after.error_code, after.lacking_looks) == (READY, None, 0)
    newer = next_step.image_after_look(POLICY, known, ImageLook(replace(DRAWING, early_link="https://host.example/2")))
    assert (newer.state, newer.link) == (READY, "https://host.example/2")
    lost = next_step.image_after_look(POLICY, replace(known, link=None), ImageLook(*last))
    assert lost.state is FAILED
    assert looked(known, MODERATED)[0] is FAILED


def as_written(image: ClaimedImage, change: ImageChange, seconds: float) -> ClaimedImage:
    """Return the image as the next look finds it, so many seconds after the first that doubted it."""
    code, said, looks = change.error_code, change.error, change.lacking_looks
    return replace(image, error_code=code, error=said, lacking_looks=looks, lacking_seconds=seconds)


def after_new_looks(look: UpstreamImage, *, times: int, seconds: float) -> Any:
    """Return a ready image after so many looks for a new link said the same, over so many seconds."""
    image = READY_IMAGE
    for _ in range(times):
        before = next_step.image_after_failed_copy(POLICY, FailedCopy(image, dead(), renewable=True))
        change = next_step.image_after_new_link(POLICY, image, before, look)
        image = as_written(image, change, seconds)
    return change


@pytest.mark.parametrize(
    ("times", "seconds", "state"),
    [
        (1, LONG, READY),
        (MISSING_LOOKS - 1, LONG, READY),
        (MISSING_LOOKS, 1.0, READY),
        (MISSING_LOOKS, LONG, FAILED),
    ],
)
def test_a_failure_of_what_was_finished_is_believed_after_several_looks(
    times: int, seconds: float, state: ImageState
) -> None:
    """Its link and its state may both be wrong for a moment."""
    change = after_new_looks(MODERATED, times=times, seconds=seconds)
    assert (change.state, change.error_code) == (state, MODERATED.error_code)
    if state is FAILED:
        assert change.error.startswith("no, 5 time(s) since")


LACKING = UpstreamImage(READY, sure=False, lacks_link=True)


def test_so_is_a_failure_of_what_was_called_finished_without_a_link() -> None:
    image = replace(IMAGE, state=PROCESSING)
    for look, code in [(LACKING, NO_LINK), *[(MODERATED, MODERATED.error_code)] * (MISSING_LOOKS - 1)]:
        change = next_step.image_after_look(POLICY, image, ImageLook(look))
        assert (change.state, change.error_code) == (PROCESSING, code)
        image = as_written(image, change, LONG)
    assert looked(image, HERE) == (READY, None, 0)
    assert looked(image, MODERATED) == (FAILED, MODERATED.error_code, 0)


@pytest.mark.parametrize("before", [None, GONE])
def test_a_failure_of_what_was_never_called_finished_is_believed_at_once(before: str | None) -> None:
    image = replace(IMAGE, error_code=before, lacking_looks=0 if before is None else 1)
    assert looked(image, MODERATED) == (FAILED, MODERATED.error_code, 0)


def waited(image: ClaimedImage, error: TransferError, look: next_step.NewLink = None) -> float:
    failure = FailedCopy(image, error, renewable=True)
    change = next_step.image_after_failed_copy(POLICY, failure)
    return next_step.wait_after_failed_copy(POLICY, failure, change, look).seconds


def test_the_wait_follows_what_a_server_asks_and_never_outlasts_half_of_the_links_life() -> None:
    assert waited(READY_IMAGE, FetchError("503"), REFUSED) >= 7.0
    short = replace(READY_IMAGE, link_seconds=10.0, read_at=time.monotonic())
    assert waited(short, FetchError("503"), replace(REFUSED, after_seconds=60.0)) <= 5.0
    assert waited(READY_IMAGE, FetchError("503"), replace(REFUSED, after_seconds=86_400.0)) <= 900.0


def test_a_page_in_place_of_an_image_is_waited_out_longer_each_time() -> None:
    waits = [waited(replace(READY_IMAGE, tries=tries), NotAnImage("a page")) for tries in range(3)]
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] <= LONG


def test_an_image_that_a_look_missed_waits_for_that_reason() -> None:
    failure = FailedCopy(READY_IMAGE, dead(), renewable=True)
    before = next_step.image_after_failed_copy(POLICY, failure)
    change = next_step.image_after_new_link(POLICY, READY_IMAGE, before, MISSING)
    wait = next_step.wait_after_failed_copy(POLICY, failure, change, MISSING)
    assert (wait.code, "1 time(s)" in wait.note) == (GONE, True)


PNG = ImageFacts("png", "image/png", "png", 8, 8)
CAME = "ab" * 32


def bytes_of(error: ImageError, begins_as: ImageFacts | None = None) -> RefusedBytes:
    error.begins_as = begins_as
    return RefusedBytes(replace(IMAGE, state=READY), error, sha256=CAME, length=9, fixed=False)


CUT, PAGE = bytes_of(IncompleteImage("cut"), PNG), bytes_of(NotAnImage("a page"))
SMALL, LARGE = bytes_of(TooSmall("1 x 1"), PNG), bytes_of(TooManyPixels("too many"), PNG)
AGAIN = replace(IMAGE, state=READY, refused_sha256=bytes.fromhex(CAME))
LAST = replace(IMAGE, state=READY, tries=SETTINGS.fetch_tries - 1)


@pytest.mark.parametrize(
    ("refused", "may_hold", "kept_as"),
    [
        (CUT, False, PNG),
        (replace(CUT, image=AGAIN), False, PNG),  # in the bucket it is the same object
        (PAGE, False, None),
        (PAGE, True, UNKNOWN),
        (replace(PAGE, image=AGAIN), True, None),  # only the first doubtful bytes
        (replace(PAGE, length=0), True, None),
        (SMALL, False, PNG),
        (replace(SMALL, image=AGAIN), False, None),
    ],
)
def test_refused_bytes_are_kept_where_they_begin_as_an_image_or_may_hold_one(
    *, refused: RefusedBytes, may_hold: bool, kept_as: ImageFacts | None
) -> None:
    assert refused.kept_as(may_hold_image=may_hold) == kept_as


@pytest.mark.parametrize(
    ("refused", "key", "code"),
    [
        (CUT, "k", None),
        (replace(CUT, image=AGAIN), "k", "result_unverified"),
        (replace(CUT, image=LAST), "k", "result_unverified"),
        (replace(CUT, fixed=True), "k", "result_unverified"),
        (LARGE, "k", "result_too_large"),
        (replace(PAGE, image=AGAIN), None, None),  # a page is the same each time, and the image may follow it
        (replace(PAGE, image=LAST), None, None),
        (replace(PAGE, fixed=True), None, "result_invalid"),
        (replace(SMALL, image=LAST), "k", None),
    ],
)
def test_refused_bytes_end_an_image_only_where_no_download_can_bring_better_ones(
    refused: RefusedBytes, key: str | None, code: str | None
) -> None:
    change = next_step.image_after_refused_bytes(SETTINGS, refused, key)
    assert (change and change.error_code) == code
    assert change is None or (change.state, change.tries) == (FAILED, refused.image.tries + 1)
    assert change is None or (change.error or "").endswith("kept as k") == (key is not None)
