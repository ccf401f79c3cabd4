"""PostEverywhere's wire against the simulator: a media id, its state, and the link that may never come."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from ops.simulator import PostEverywhereSettings, Simulator
from shared.errors import CODES
from shared.lifecycle import ImageState, Outcome
from tests.support.waiting import until
from tests.support.wires import Caller
from worker.providers.contract import Accepted, AccountFacts, RetryRule

NO, MAYBE = Outcome.REJECTED, Outcome.UNKNOWN
OPEN: dict[str, Any] = {"requests_per_minute": None, "requests_per_hour": None, "generations_per_hour": None}
NOBODYS = "99999999-9999-4999-8999-999999999999"
LONG_AGO = timedelta(hours=1)


def poll_until_final(caller: Caller, upstream_id: str) -> Any:
    """Poll as often as it takes; the simulator's time runs two hundred times as fast."""
    for _ in range(400):
        (image,) = caller.poll([upstream_id]).values()
        if image.state is not ImageState.PROCESSING:
            return image
    raise AssertionError("not final after 400 polls")


@pytest.mark.parametrize("reply_shape", ["current", "older"])
@pytest.mark.parametrize("url", ["url", "permanent"])
@pytest.mark.parametrize("status_field", ["status", "media_status"])
def test_a_media_id_becomes_a_link_that_leads_to_the_picture(
    start: Callable[..., Simulator], web: httpx.Client, reply_shape: Any, url: Any, status_field: Any
) -> None:
    settings = PostEverywhereSettings(url=url, reply_shape=reply_shape, status_field=status_field, **OPEN)
    sim = start(posteverywhere=settings)
    caller = Caller(sim, "posteverywhere")
    bought = caller.submit(model="gemini-3-pro")
    assert isinstance(bought, Accepted)
    assert (bought.http_status, bought.settled, bought.remaining) == (201, Decimal(5), Decimal(99_995))
    (line,) = sim.bill()["lines"]
    assert [image.upstream_id for image in bought.images] == line["upstream_ids"]
    image = poll_until_final(caller, str(bought.upstream_id))
    assert image.state is ImageState.READY
    assert "thumbnail" not in image.link
    assert web.get(image.link).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("without_url", "expected"),
    [("fail", (ImageState.FAILED, "result_not_downloadable")), ("succeed", (ImageState.UPSTREAM_ONLY, None))],
)
def test_a_finished_picture_without_a_link_keeps_its_media_id_and_ends_as_the_setting_says(
    shared_sim: Simulator, without_url: str, expected: Any
) -> None:
    caller = Caller(shared_sim, "posteverywhere", media_without_url=without_url)
    bought = caller.submit()
    image = poll_until_final(caller, str(bought.upstream_id))
    assert (image.state, image.error_code) == expected
    assert image.upstream_id == bought.upstream_id
    assert image.error_code is None or image.error_code in CODES


def test_a_picture_that_fails_after_purchase_says_so(shared_sim: Simulator) -> None:
    caller = Caller(shared_sim, "posteverywhere")
    image = poll_until_final(caller, caller.submit(prompt="[sim:failed] x").upstream_id)
    assert (image.state, image.error_code) == (ImageState.FAILED, "generation_failed")


@pytest.mark.parametrize("list_field", ["items", "media"])
@pytest.mark.parametrize("url", ["absent", "permanent"])
def test_a_hundred_pictures_are_asked_for_at_once_and_only_links_end_them_there(
    start: Callable[..., Simulator], list_field: Any, url: Any
) -> None:
    sim = start(posteverywhere=PostEverywhereSettings(list_field=list_field, url=url, **OPEN))
    caller = Caller(sim, "posteverywhere")
    ids = [caller.submit(prompt=f"picture {number}").upstream_id for number in range(3)]
    for upstream_id in ids:
        poll_until_final(caller, upstream_id)
    before = len(sim.requests(route="list"))
    listed = caller.poll([*ids, NOBODYS])
    assert set(listed) == (set(ids) if url == "permanent" else set())  # the others are asked for by themselves
    assert len(sim.requests(route="list")) == before + 1


def test_only_its_own_404_says_that_a_picture_is_gone(shared_sim: Simulator) -> None:
    gone = Caller(shared_sim, "posteverywhere").poll([NOBODYS])[NOBODYS]
    assert (gone.state, gone.error_code) == (ImageState.FAILED, "upstream_gone")


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("missing_scope_status", [401, 403])
def test_each_refusal_of_posteverywhere_costs_nothing_and_says_what_to_do(
    start: Callable[..., Simulator], *, retryable: bool, missing_scope_status: Any
) -> None:
    sim = start(
        posteverywhere=PostEverywhereSettings(
            retryable=retryable, missing_scope_status=missing_scope_status, default_model=None, **OPEN
        )
    )
    scope = "account_unauthorized" if missing_scope_status == 401 else "account_forbidden"
    cases: list[tuple[str, dict[str, Any], tuple[Outcome, RetryRule, str]]] = [
        ("nobody", {}, (NO, RetryRule.RESUME, "account_unauthorized")),
        ("banned", {}, (NO, RetryRule.RESUME, "account_unauthorized")),
        ("no-scope", {}, (NO, RetryRule.RESUME, scope)),
        ("poor", {"model": "nano-banana-pro"}, (NO, RetryRule.RESUME, "account_out_of_credit")),
        ("unpaid", {}, (NO, RetryRule.RESUME, "account_out_of_credit")),
        ("hurried", {}, (NO, RetryRule.AFTER, "rate_limited")),
        ("sim-a", {"prompt": ""}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"model": "no-such"}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"prompt": "[sim:moderated] x"}, (NO, RetryRule.NEVER, "provider_rejected")),
    ]
    for key, extra, expected in cases:
        refused = Caller(sim, "posteverywhere", key=key).submit(**extra)
        assert (refused.outcome, refused.again, refused.code) == expected, (key, extra)
    assert sim.bill()["lines"] == []


@pytest.mark.parametrize("rate_code", ["rate_limit_exceeded", "rate_limited"])
def test_a_full_window_says_when_it_opens(start: Callable[..., Simulator], rate_code: Any) -> None:
    terms = {**OPEN, "generations_per_hour": 0}
    sim = start(time_scale=1, posteverywhere=PostEverywhereSettings(rate_code=rate_code, **terms))
    refused = Caller(sim, "posteverywhere").submit()
    assert (refused.outcome, refused.again, refused.code) == (NO, RetryRule.AFTER, "rate_limited")
    assert 3590 <= refused.after_seconds <= 3602


@pytest.mark.parametrize("list_field", ["items", "media"])
def test_a_lost_calls_picture_is_listed_with_its_time_and_once_it_is_made_its_size(
    start: Callable[..., Simulator], list_field: Any
) -> None:
    sim = start(posteverywhere=PostEverywhereSettings(list_field=list_field, **OPEN))
    caller = Caller(sim, "posteverywhere")
    assert (caller.listed().rows, caller.listed().ended) == ((), True)
    assert caller.submit(prompt="[sim:lost] x", aspect_ratio="16:9").outcome is MAYBE
    (line,) = sim.bill()["lines"]
    # A picture that is still being made shows no size.
    (row,) = until(lambda: next((seen for seen in [caller.listed().rows] if seen[0].width), None))
    assert ([row.upstream_id], row.reference, row.prompt) == (line["upstream_ids"], None, None)
    assert row.width / row.height == pytest.approx(16 / 9, rel=0.05)
    assert abs(datetime.now(UTC) - row.made_at) < timedelta(minutes=1)


@pytest.mark.parametrize("me_envelope", [True, False])
def test_the_credits_that_are_left_are_read_with_or_without_the_envelope(
    start: Callable[..., Simulator], *, me_envelope: bool
) -> None:
    sim = start(posteverywhere=PostEverywhereSettings(me_envelope=me_envelope, balance=Decimal(50), **OPEN))
    caller = Caller(sim, "posteverywhere")
    caller.submit(model="gemini-3-pro")
    assert caller.account() == AccountFacts(Decimal(45))
    (note,) = Caller(sim, "posteverywhere", key="unpaid").account().notes
    assert "no plan" in note
