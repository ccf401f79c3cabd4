"""Banatie's wire against the simulator: answers that come early or late, and our reference in `meta`."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ops.simulator import BanatieSettings, Simulator
from shared.lifecycle import ImageState, Outcome
from tests.support.wires import Caller
from worker.providers.contract import Accepted, AccountFacts, Again, Found

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
    image = poll_until_final(caller, bought.upstream_id)
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
    prompt, before = f"[sim:{mark}] x", datetime.now(UTC) - SOON
    bought = caller.submit(prompt=prompt)
    assert len(sim.bill()["lines"]) == 1
    if status == 500:
        assert (bought.outcome, bought.again, bought.code) == (MAYBE, Again.AFTER, "provider_error")
        ((upstream_id, *_),) = [(found.upstream_id,) for found in caller.find(before, prompt=prompt).candidates]
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
        ("nobody", {}, (NO, Again.RESUME, "account_unauthorized")),
        ("banned", {}, (NO, Again.RESUME, "account_unauthorized")),
        ("master", {}, (NO, Again.RESUME, "account_forbidden")),
        ("unpaid", {}, (NO, Again.RESUME, "account_out_of_credit")),
        ("hurried", {}, (NO, Again.AFTER, "rate_limited")),
        ("sim-a", {"prompt": ""}, (NO, Again.NEVER, "provider_rejected")),
        ("sim-a", {"aspectRatio": "7:3"}, (NO, Again.NEVER, "provider_rejected")),
        ("sim-a", {"referenceImages": [NOBODYS]}, (NO, Again.NEVER, "not_found")),
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
    assert (refused.outcome, refused.again, refused.code) == (NO, Again.NEVER, "provider_rejected")


@pytest.mark.parametrize("unit", ["epoch", "seconds"])
@pytest.mark.parametrize("retry_after", [True, False])
def test_a_full_window_says_when_it_opens_in_either_unit(
    start: Callable[..., Simulator], unit: Any, *, retry_after: bool
) -> None:
    sim = start(time_scale=1, banatie=BanatieSettings(requests_per_hour=0, rate_reset=unit, retry_after=retry_after))
    for refused in (Caller(sim, "banatie").submit(), Caller(sim, "banatie").poll([NOBODYS])):
        assert (refused.outcome, refused.again) == (NO, Again.AFTER)
        assert 3590 <= refused.after_seconds <= 3602


@pytest.mark.parametrize("list_meta", [True, False])
def test_a_lost_call_is_found_by_our_reference_among_its_twins(
    start: Callable[..., Simulator], *, list_meta: bool
) -> None:
    sim = start(banatie=BanatieSettings(list_meta=list_meta, **OPEN))
    caller = Caller(sim, "banatie")
    before = datetime.now(UTC) - SOON
    for reference in ("first", "second", "third"):
        caller.submit(prompt="[sim:lost] x", reference=reference)
    ids = [line["submission_id"] for line in sim.bill()["lines"]]
    for reference, upstream_id in zip(("first", "second", "third"), ids, strict=True):
        (found,) = caller.find(before, prompt="[sim:lost] x", reference=reference).candidates
        assert (found.upstream_id, found.reference) == (upstream_id, reference)
    nothing = Found((), complete=True)
    assert caller.find(before, prompt="[sim:lost] x", reference="never sent") == nothing
    assert caller.find(before, prompt="another prompt", reference="first") == nothing
    assert caller.find(datetime.now(UTC) + SOON, prompt="[sim:lost] x", reference="first") == nothing
    assert bool(sim.requests(route="poll")) != list_meta  # a list that shows `meta` saves the requests


def test_a_lost_call_is_found_behind_a_hundred_newer_ones(start: Callable[..., Simulator]) -> None:
    sim = start(banatie=BanatieSettings(**OPEN))
    caller = Caller(sim, "banatie")
    before = datetime.now(UTC) - SOON
    ours = caller.submit(reference="ours")
    headers = {"x-api-key": "sim-a"}
    with httpx.Client(base_url=sim.banatie_url, headers=headers) as crowd:
        for number in range(120):
            crowd.post("/api/v1/generations", json={"prompt": f"another {number}"}).raise_for_status()
    (found,) = caller.find(before, reference="ours").candidates
    assert (found.upstream_id, found.reference) == (ours.upstream_id, "ours")
    seen: dict[str, str | None] = {}
    while len(seen) < 121:
        some = caller.everything(before, owned=seen)
        assert 0 < len(some.candidates) <= 20
        seen |= {one.upstream_id: one.reference for one in some.candidates}
        assert some.complete is (len(seen) == 121)
    assert [upstream_id for upstream_id, reference in seen.items() if reference] == [ours.upstream_id]


def test_the_account_has_no_balance_and_a_key_that_is_refused_says_so(shared_sim: Simulator) -> None:
    assert Caller(shared_sim, "banatie").account() == AccountFacts(None)
    assert Caller(shared_sim, "banatie", key="banned").account().code == "account_unauthorized"
