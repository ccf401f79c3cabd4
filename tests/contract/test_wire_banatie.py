"""Banatie's wire against the simulator: answers that come early or late, and our reference in `meta`."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from ops.simulator import BanatieSettings, Simulator
from shared.lifecycle import ImageState, Outcome
from tests.support.wires import Caller
from worker.providers.contract import Accepted, AccountFacts, RetryRule

NO, MAYBE = Outcome.REJECTED, Outcome.UNKNOWN
OPEN: dict[str, Any] = {"requests_per_hour": None, "latency": (4, 9)}
NOBODYS = "99999999-9999-4999-8999-999999999999"
SOON = timedelta(minutes=1)


def poll_until_final(caller: Caller, upstream_id: str) -> Any:
    """Poll as often as it takes; the simulator's time runs two hundred times as fast."""
    for _ in range(400):
        (image,) = caller.poll([upstream_id]).values()
        if image.state not in {ImageState.PENDING, ImageState.PROCESSING}:
            return image
    raise AssertionError("not final after 400 polls")


@pytest.mark.parametrize("answer", ["early", "late"])
def test_an_answer_may_be_the_beginning_or_the_end(
    start: Callable[..., Simulator], web: httpx.Client, answer: Any
) -> None:
    sim = start(banatie=BanatieSettings(answer=answer, **OPEN))
    caller = Caller(sim, "banatie")
    bought = caller.submit()
    assert isinstance(bought, Accepted)
    assert (bought.http_status, bought.settled) == (201, None)
    (line,) = sim.bill()["lines"]
    assert bought.upstream_id == line["submission_id"]
    (image,) = bought.images
    assert (image.state is ImageState.READY) == (answer == "late")
    image = poll_until_final(caller, str(bought.upstream_id))
    assert web.get(image.link).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("answer", "status", "mark"),
    [
        *itertools.product(["early"], [201], ["moderated", "failed", "rate_limited"]),
        *itertools.product(["late"], [201, 500], ["moderated", "failed"]),
    ],
)
def test_a_failed_generation_says_why_or_is_held_until_it_is_found(
    start: Callable[..., Simulator], answer: Any, status: Any, mark: str
) -> None:
    sim = start(banatie=BanatieSettings(answer=answer, failure_status=status, **OPEN))
    caller = Caller(sim, "banatie")
    prompt = f"[sim:{mark}] x"
    bought = caller.submit(prompt=prompt)
    assert len(sim.bill()["lines"]) == 1
    if status == 500:
        assert (bought.outcome, bought.again, bought.code) == (MAYBE, RetryRule.AFTER, "provider_error")
        (upstream_id,) = [row.upstream_id for row in caller.listed().rows if row.prompt == prompt]
    else:
        upstream_id = bought.upstream_id
    image = poll_until_final(caller, upstream_id)
    code = "content_refused_after_purchase" if mark == "moderated" else "generation_failed"
    assert (image.state, image.error_code) == (ImageState.FAILED, code)


def test_a_hundred_generations_are_asked_for_at_once_and_those_done_by_themselves(
    start: Callable[..., Simulator], web: httpx.Client
) -> None:
    sim = start(banatie=BanatieSettings(requests_per_hour=None, latency=(4, 9)))
    caller = Caller(sim, "banatie")
    done = caller.submit(prompt="done").upstream_id
    poll_until_final(caller, done)
    drawing = [caller.submit(prompt=f"drawing {number}").upstream_id for number in range(2)]
    listed = caller.poll([done, *drawing, NOBODYS])
    assert done not in listed
    assert NOBODYS not in listed
    assert len(sim.requests(route="list")) == 1
    assert web.get(caller.poll([done])[done].link).status_code == 200


def test_only_its_own_404_says_that_a_generation_is_gone(shared_sim: Simulator) -> None:
    gone = Caller(shared_sim, "banatie").poll([NOBODYS])[NOBODYS]
    assert (gone.state, gone.error_code) == (ImageState.FAILED, "upstream_gone")


@pytest.mark.parametrize(
    ("key", "extra", "expected"),
    [
        ("nobody", {}, (NO, RetryRule.RESUME, "account_unauthorized")),
        ("banned", {}, (NO, RetryRule.RESUME, "account_unauthorized")),
        ("master", {}, (NO, RetryRule.RESUME, "account_forbidden")),
        ("unpaid", {}, (NO, RetryRule.RESUME, "account_out_of_credit")),
        ("hurried", {}, (NO, RetryRule.AFTER, "rate_limited")),
        ("sim-a", {"prompt": ""}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"aspectRatio": "7:3"}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"referenceImages": [NOBODYS]}, (NO, RetryRule.NEVER, "not_found")),
    ],
)
def test_each_refusal_of_banatie_starts_nothing_and_says_what_to_do(
    shared_sim: Simulator, key: str, extra: dict[str, Any], expected: Any
) -> None:
    before = len(shared_sim.bill("banatie")["lines"])
    refused = Caller(shared_sim, "banatie", key=key).submit(**extra)
    assert (refused.outcome, refused.again, refused.code) == expected
    assert len(shared_sim.bill("banatie")["lines"]) == before


def test_an_alias_that_is_taken_is_the_rows_own_fault(start: Callable[..., Simulator]) -> None:
    caller = Caller(start(banatie=BanatieSettings(**OPEN)), "banatie")
    assert isinstance(caller.submit(alias="@hero"), Accepted)
    refused = caller.submit(alias="@hero")
    assert (refused.outcome, refused.again, refused.code) == (NO, RetryRule.NEVER, "provider_rejected")


@pytest.mark.parametrize("unit", ["epoch", "seconds"])
@pytest.mark.parametrize("retry_after", [True, False])
def test_a_full_window_says_when_it_opens_in_either_unit(
    start: Callable[..., Simulator], unit: Any, *, retry_after: bool
) -> None:
    sim = start(time_scale=1, banatie=BanatieSettings(requests_per_hour=0, rate_reset=unit, retry_after=retry_after))
    for refused in (Caller(sim, "banatie").submit(), Caller(sim, "banatie").poll([NOBODYS])):
        assert (refused.outcome, refused.again) == (NO, RetryRule.AFTER)
        assert 3590 <= refused.after_seconds <= 3602


@pytest.mark.parametrize("list_meta", [True, False])
def test_a_lost_call_is_known_by_our_reference_among_its_twins(
    start: Callable[..., Simulator], *, list_meta: bool
) -> None:
    sim = start(banatie=BanatieSettings(list_meta=list_meta, **OPEN))
    caller = Caller(sim, "banatie")
    for reference in ("first", "second", "third"):
        caller.submit(prompt="[sim:lost] x", reference=reference)
    ids = [line["submission_id"] for line in sim.bill()["lines"]]
    found = caller.listed()
    assert [row.upstream_id for row in found.rows] == ids[::-1]
    references = [row.reference if list_meta else caller.look(row.upstream_id).reference for row in found.rows]
    assert references == ["third", "second", "first"]
    assert {row.reference for row in found.rows} == ({"first", "second", "third"} if list_meta else {None})


def test_a_list_of_several_pages_is_read_to_its_end(start: Callable[..., Simulator]) -> None:
    sim = start(banatie=BanatieSettings(**OPEN))
    caller = Caller(sim, "banatie")
    ours = caller.submit(reference="ours")
    headers = {"x-api-key": "sim-a"}
    with httpx.Client(base_url=sim.banatie_url, headers=headers) as crowd:
        for number in range(120):
            crowd.post("/api/v1/generations", json={"prompt": f"another {number}"}).raise_for_status()
    found = caller.listed()
    assert (len(found.rows), found.rows[-1].upstream_id, found.ended) == (121, ours.upstream_id, True)
    assert len(sim.requests(route="list")) == 2


def test_the_account_has_no_balance_and_a_key_that_is_refused_says_so(shared_sim: Simulator) -> None:
    assert Caller(shared_sim, "banatie").account() == AccountFacts(None)
    assert Caller(shared_sim, "banatie", key="banned").account().code == "account_unauthorized"
