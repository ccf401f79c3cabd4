"""Bloom's wire against the simulator: from a paid call to links that can be fetched, and each refusal."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ops.simulator import BloomSettings, Simulator, SimulatorConfig
from shared.lifecycle import ImageState, Outcome
from tests.support.wires import Caller
from worker.providers.contract import Accepted, RetryRule

NO, MAYBE = Outcome.REJECTED, Outcome.UNKNOWN
ANALYZING = "22222222-2222-4222-8222-222222222222"
WITHOUT_LOGO = "33333333-3333-4333-8333-333333333333"
NOBODYS = "99999999-9999-4999-8999-999999999999"


def poll_until_final(caller: Caller, ids: list[str]) -> dict[str, Any]:
    """Poll as often as it takes; the simulator's time runs two hundred times as fast."""
    for _ in range(400):
        found = caller.poll(ids)
        if all(image.state in {ImageState.READY, ImageState.FAILED} for image in found.values()):
            return dict(found)
    raise AssertionError("not final after 400 polls")


@pytest.mark.parametrize("count", [1, 5])
def test_each_picture_gets_an_id_then_a_link_that_leads_to_it(
    shared_sim: Simulator, web: httpx.Client, count: int
) -> None:
    caller = Caller(shared_sim, "bloom", key=f"sim-count-{count}")
    bought = caller.submit(variantCount=count)
    assert isinstance(bought, Accepted)
    assert (bought.http_status, bought.settled) == (202, None)
    ids = [str(image.upstream_id) for image in bought.images]
    (line,) = shared_sim.world.bill.as_json(key=f"sim-count-{count}")["lines"]
    assert line["upstream_ids"] == ids
    for image in poll_until_final(caller, ids).values():
        assert image.link_expires_at is None
        assert web.get(image.link, follow_redirects=True).headers["content-type"] == "image/png"


def test_a_relative_link_leads_to_the_picture_too(
    start: Callable[..., Simulator], base_config: SimulatorConfig, web: httpx.Client
) -> None:
    sim = start(bloom=replace(base_config.bloom, relative_urls=True))
    caller = Caller(sim, "bloom")
    ids = [image.upstream_id for image in caller.submit().images]
    (image,) = poll_until_final(caller, ids).values()
    assert web.get(image.link, follow_redirects=True).status_code == 200


@pytest.mark.parametrize("envelope", ["flat", "nested"])
def test_each_refusal_of_bloom_costs_nothing_and_says_what_to_do(
    start: Callable[..., Simulator], envelope: Any
) -> None:
    sim = start(bloom=BloomSettings(requests_per_minute=None, envelope=envelope))
    cases: list[tuple[str, dict[str, Any], tuple[Outcome, RetryRule, str]]] = [
        ("nobody", {}, (NO, RetryRule.RESUME, "account_unauthorized")),
        ("banned", {}, (NO, RetryRule.RESUME, "account_forbidden")),
        ("no-plan", {}, (NO, RetryRule.RESUME, "account_forbidden")),
        ("free", {"imageSize": "4K"}, (NO, RetryRule.NEVER, "not_entitled")),
        ("unpaid", {}, (NO, RetryRule.RESUME, "account_out_of_credit")),
        ("poor", {}, (NO, RetryRule.RESUME, "account_out_of_credit")),
        ("hurried", {}, (NO, RetryRule.AFTER, "rate_limited")),
        ("sim-a", {"prompt": ""}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"referenceImageIds": [NOBODYS] * 11}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"referenceImageIds": [NOBODYS]}, (NO, RetryRule.NEVER, "not_found")),
        ("sim-a", {"brandSessionId": NOBODYS}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"brandSessionId": ANALYZING}, (NO, RetryRule.AFTER, "brand_not_ready")),
        ("sim-a", {"brandSessionId": WITHOUT_LOGO}, (NO, RetryRule.NEVER, "provider_rejected")),
    ]
    for key, extra, expected in cases:
        refused = Caller(sim, "bloom", key=key).submit(**extra)
        assert (refused.outcome, refused.again, refused.code) == expected, (key, extra)
        assert (refused.action_url is not None) == (refused.code == "account_out_of_credit")
    assert sim.bill()["lines"] == []


@pytest.mark.parametrize("mark", ["moderated", "failed", "rate_limited"])
def test_a_picture_that_fails_after_purchase_says_so(shared_sim: Simulator, mark: str) -> None:
    caller = Caller(shared_sim, "bloom")
    ids = [image.upstream_id for image in caller.submit(prompt=f"[sim:{mark}] x").images]
    (image,) = poll_until_final(caller, ids).values()
    code = "content_refused_after_purchase" if mark == "moderated" else "generation_failed"
    assert (image.state, image.error_code) == (ImageState.FAILED, code)


def test_fifty_pictures_are_asked_for_in_one_request_and_a_stranger_is_left_out(shared_sim: Simulator) -> None:
    caller = Caller(shared_sim, "bloom", key="sim-fifty")
    ids = [image.upstream_id for _ in range(10) for image in caller.submit(variantCount=5).images]
    before = len(shared_sim.requests(key="sim-fifty", route="poll"))
    assert set(caller.poll([*ids[:49], NOBODYS])) == set(ids[:49])
    assert set(caller.poll(ids)) == set(ids)
    assert len(shared_sim.requests(key="sim-fifty", route="poll")) == before + 2


def test_only_its_own_404_says_that_a_picture_is_gone(shared_sim: Simulator) -> None:
    gone = Caller(shared_sim, "bloom").poll([NOBODYS])[NOBODYS]
    assert (gone.state, gone.error_code) == (ImageState.FAILED, "upstream_gone")


def test_one_id_that_bloom_does_not_accept_keeps_no_other_from_being_found(shared_sim: Simulator) -> None:
    caller = Caller(shared_sim, "bloom")
    (image,) = caller.submit().images
    assert caller.poll([image.upstream_id, "not-a-uuid"]) == {}  # each is then asked for by itself
    assert set(caller.poll([image.upstream_id])) == {image.upstream_id}


def test_a_lost_calls_pictures_are_listed_with_prompt_and_time(start: Callable[..., Simulator]) -> None:
    sim = start()
    caller, now, minute = Caller(sim, "bloom"), datetime.now(UTC), timedelta(minutes=1)
    assert caller.submit(prompt="[sim:lost] x", variantCount=2).outcome is MAYBE
    caller.submit(prompt="something else")
    lost, _ = sim.bill()["lines"]
    found = caller.listed()
    assert (found.ended, found.fault, found.disorder) == (True, None, None)
    ours = [row for row in found.rows if row.prompt == "[sim:lost] x"]
    assert {row.upstream_id for row in ours} == set(lost["upstream_ids"])
    assert all(now - minute < row.made_at < now + minute and row.reference is None for row in ours)
    assert len(found.rows) == 3


def test_a_list_of_several_pages_is_read_to_its_end(start: Callable[..., Simulator]) -> None:
    caller = Caller(start(), "bloom")
    ours = caller.submit(prompt="ours").upstream_id
    for number in range(21):
        caller.submit(prompt=f"another {number}", variantCount=5)
    found = caller.listed()
    assert (len(found.rows), found.rows[-1].upstream_id, found.ended) == (1 + 21 * 5, ours, True)


def test_the_account_says_what_is_left_and_which_brands_cannot_generate(start: Callable[..., Simulator]) -> None:
    sim = start()
    facts = Caller(sim, "bloom", key="poor").account()
    assert facts.balance == 0
    assert any("analyzing" in note for note in facts.notes)
    assert not any("is ready" in note for note in facts.notes)
    assert Caller(sim, "bloom", key="nobody").account().code == "account_unauthorized"
