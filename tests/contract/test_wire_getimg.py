"""getimg's wire against the simulator: links and cost from one answer, and each refusal."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from ops.simulator import GetimgSettings, Simulator
from shared.lifecycle import ImageState, Outcome
from tests.support.wires import Caller
from worker.providers.contract import Accepted, RetryRule

NO = Outcome.REJECTED


def test_the_answer_is_the_result_with_its_exact_cost_and_end(shared_sim: Simulator, web: httpx.Client) -> None:
    bought = Caller(shared_sim, "getimg", key="sim-one").submit()
    assert isinstance(bought, Accepted)
    (line,) = shared_sim.world.bill.as_json(key="sim-one")["lines"]
    assert (bought.upstream_id, bought.settled) == (line["submission_id"], Decimal(line["amount"]))
    (image,) = bought.images
    assert image.state is ImageState.READY
    assert image.link_expires_at is not None
    assert image.link_expires_at > datetime.now(UTC)
    assert image.link is not None
    assert web.get(image.link).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("key", "extra", "expected"),
    [
        ("nobody", {}, (NO, RetryRule.RESUME, "account_unauthorized")),
        ("banned", {}, (NO, RetryRule.RESUME, "account_forbidden")),
        ("poor", {}, (NO, RetryRule.RESUME, "account_out_of_credit")),
        ("hurried", {}, (NO, RetryRule.AFTER, "rate_limited")),
        ("sim-a", {"prompt": ""}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"model": "no-such-model"}, (NO, RetryRule.NEVER, "provider_rejected")),
        ("sim-a", {"prompt": "[sim:moderated] x"}, (NO, RetryRule.NEVER, "content_refused")),
        ("sim-a", {"prompt": "[sim:failed] x"}, (Outcome.UNKNOWN, RetryRule.AFTER, "provider_error")),
    ],
)
def test_each_refusal_of_getimg_costs_nothing_and_says_what_to_do(
    shared_sim: Simulator, key: str, extra: dict[str, Any], expected: Any
) -> None:
    before = len(shared_sim.bill()["lines"])
    refused = Caller(shared_sim, "getimg", key=key).submit(**extra)
    assert (refused.outcome, refused.again, refused.code) == expected
    assert len(shared_sim.bill()["lines"]) == before


@pytest.mark.parametrize("unit", ["epoch", "seconds"])
def test_a_full_window_says_when_it_opens_in_either_unit(start: Callable[..., Simulator], unit: Any) -> None:
    sim = start(time_scale=1, getimg=GetimgSettings(requests_per_minute=0, rate_reset=unit))
    refused = Caller(sim, "getimg").submit()
    assert (refused.outcome, refused.again) == (NO, RetryRule.AFTER)
    assert 50 <= refused.after_seconds <= 62


def test_the_key_is_in_no_answer_of_ours(shared_sim: Simulator) -> None:
    refused = Caller(shared_sim, "getimg", key="nobody-knows-this-key").submit()
    assert "nobody-knows-this-key" not in repr(refused)


def test_what_is_left_is_the_balance_after_what_was_bought(start: Callable[..., Simulator]) -> None:
    sim = start(getimg=GetimgSettings(balance=Decimal(5)))
    caller = Caller(sim, "getimg")
    bought = caller.submit()
    assert caller.account().balance == 5 - bought.settled
    assert Caller(sim, "getimg", key="nobody").account().code == "account_unauthorized"
