"""OpenRouter's wire against the simulator: images and exact cost out of one kept answer, and each refusal."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from ops.simulator import OpenRouterSettings, Simulator
from shared.lifecycle import ImageState, Outcome
from tests.support.wires import Caller
from worker.providers.contract import Accepted, AccountFacts, RetryRule

NO, MAYBE = Outcome.REJECTED, Outcome.UNKNOWN
FAST: dict[str, Any] = {"latency": (4, 9)}


def test_each_image_is_in_the_answer_and_its_cost_is_the_bills_to_the_last_digit(shared_sim: Simulator) -> None:
    caller = Caller(shared_sim, "openrouter", key="sim-three")
    bought = caller.submit(n=3)
    assert isinstance(bought, Accepted)
    (line,) = shared_sim.world.bill.as_json(key="sim-three")["lines"]
    assert (bought.upstream_id, bought.settled) == (line["submission_id"], Decimal(line["amount"]))
    assert len(line["amount"]) > 15
    assert [image.state for image in bought.images] == [ImageState.READY] * 3
    assert len({caller.image(index) for index in range(3)}) == 3
    assert all(caller.image(index).startswith(b"\x89PNG") for index in range(3))


@pytest.mark.parametrize("billing", ["delivered", "completed", "accepted"])
@pytest.mark.parametrize(
    ("fault", "lines"), [(None, 1), ("reply_lost", None), ("truncate", None), ("reset_after_read", 0)]
)
def test_whatever_the_billing_nothing_billed_is_called_unbought(
    start: Callable[..., Simulator], billing: Any, fault: str | None, lines: int | None
) -> None:
    sim = start(openrouter=OpenRouterSettings(billing=billing, **FAST))
    sim.put_faults([{"match": {"route": "submit"}, "fault": fault}] if fault else [])
    answer = Caller(sim, "openrouter").submit()
    expected = int(billing != "delivered") if lines is None else lines
    assert len(sim.bill()["lines"]) == expected
    assert isinstance(answer, Accepted) if fault is None else answer.outcome is MAYBE


def test_fewer_images_than_asked_for_are_those_that_came(start: Callable[..., Simulator]) -> None:
    sim = start(openrouter=OpenRouterSettings(returns_fewer=2, **FAST))
    caller = Caller(sim, "openrouter")
    assert len(caller.submit(n=3).images) == 1
    assert caller.image(0)


@pytest.mark.parametrize(
    ("settings", "settled", "has_id"),
    [
        ({"media_type": False}, True, True),
        ({"generation_id": False}, True, False),
        ({"usage": "without_cost"}, False, True),
        ({"usage": "absent"}, False, True),
    ],
)
def test_what_the_answer_may_leave_out_loses_no_image(
    start: Callable[..., Simulator], settings: dict[str, Any], *, settled: bool, has_id: bool
) -> None:
    caller = Caller(start(openrouter=OpenRouterSettings(**settings, **FAST)), "openrouter")
    bought = caller.submit()
    assert (bought.settled is not None, bought.upstream_id is not None) == (settled, has_id)
    assert caller.image(0)


@pytest.mark.parametrize("shape", ["code", "typed"])
def test_each_refusal_of_openrouter_costs_nothing_and_says_what_to_do(
    start: Callable[..., Simulator], shape: Any
) -> None:
    sim = start(openrouter=OpenRouterSettings(error_shape=shape, **FAST))
    cases: list[tuple[str, dict[str, Any], tuple[Outcome, RetryRule, str]]] = [
        ("nobody", {}, (NO, RetryRule.RESUME, "account_unauthorized")),
        ("banned", {}, (NO, RetryRule.RESUME, "account_unauthorized")),
        ("no-permission", {}, (NO, RetryRule.RESUME, "account_forbidden")),
        ("poor", {}, (NO, RetryRule.RESUME, "account_out_of_credit")),
        ("limited", {}, (NO, RetryRule.RESUME, "account_out_of_credit")),
        ("hurried", {}, (NO, RetryRule.AFTER, "rate_limited")),
        ("sim-a", {"n": 11}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"prompt": "x" * 40_000_000}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"model": "no/such"}, (NO, RetryRule.NEVER, "not_found")),
        ("sim-a", {"prompt": "[sim:moderated] x"}, (NO, RetryRule.NEVER, "content_refused")),
        ("sim-a", {"prompt": "[sim:failed] x"}, (NO, RetryRule.AFTER, "provider_unavailable")),
    ]
    for key, extra, expected in cases:
        refused = Caller(sim, "openrouter", key=key).submit(**extra)
        assert (refused.outcome, refused.again, refused.code) == expected, (key, list(extra))
    assert sim.bill()["lines"] == []


@pytest.mark.parametrize("status", [404, 503])
@pytest.mark.parametrize("availability", [True, False])
def test_availability_sets_when_to_try_again_and_never_whether_it_was_bought(
    start: Callable[..., Simulator], *, status: int, availability: bool
) -> None:
    sim = start(openrouter=OpenRouterSettings(availability=availability, **FAST))
    sim.put_faults([{"fault": {"kind": "error_5xx", "status": status, "retry_after": 7}}])
    refused = Caller(sim, "openrouter").submit()
    assert refused.outcome is (NO if status == 404 else MAYBE)
    assert refused.again is (RetryRule.AFTER if availability or status == 503 else RetryRule.NEVER)
    assert refused.after_seconds == 7
    assert refused.code == {503: "provider_error", 404: "provider_unavailable" if availability else "not_found"}[status]


@pytest.mark.parametrize("unit", ["milliseconds", "epoch", "seconds"])
def test_a_full_window_says_when_it_opens_in_any_unit(start: Callable[..., Simulator], unit: Any) -> None:
    sim = start(time_scale=1, openrouter=OpenRouterSettings(requests_per_minute=0, rate_reset=unit))
    refused = Caller(sim, "openrouter").submit()
    assert (refused.outcome, refused.again) == (NO, RetryRule.AFTER)
    assert 50 <= refused.after_seconds <= 62


def test_what_is_left_is_what_was_bought_less_what_was_used(start: Callable[..., Simulator]) -> None:
    sim = start(openrouter=OpenRouterSettings(balance=Decimal(5), **FAST))
    caller = Caller(sim, "openrouter")
    bought = caller.submit()
    assert caller.account() == AccountFacts(5 - bought.settled)
    assert Caller(sim, "openrouter", key="nobody").account().code == "account_unauthorized"
