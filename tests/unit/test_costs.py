"""What a provider states that a call cost: read exactly, told apart by who is paid, and doubted where it is absurd."""

from decimal import Decimal
from typing import Any

import pytest

from tests.support.canned_wire import account, reply, submitted
from worker.providers.amount import amount_of, cost_of
from worker.stages.cost_check import complaint

NOTHING = Decimal(0)
PICTURE = {"b64_json": "iVBORw0KGgo="}


def openrouter(**usage: Any) -> Any:
    answer = {"created": 1, "data": [PICTURE], "usage": {"prompt_tokens": 1, **usage}}
    return submitted("openrouter", reply(200, answer))


@pytest.mark.parametrize(
    ("usage", "here", "elsewhere"),
    [
        ({"cost": 0.05, "is_byok": False}, "0.05", "0"),
        ({"cost": 0.05}, "0.05", "0"),
        ({"cost": 0, "is_byok": False}, "0", "0"),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.04}}, "0", "0.04"),
        ({"cost": 0.002, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.04}}, "0.002", "0.04"),
        ({"cost": None, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.04}}, "0", "0.04"),
        ({"cost": 0, "cost_details": {"upstream_inference_cost": 0.04}}, "0", "0.04"),
        ({"cost": 0.05, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.04}}, "0.05", "0"),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, "0", None),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": -1}}, "0", None),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": "free"}}, "0", None),
        ({"cost": 0, "is_byok": True}, "0", None),
        ({}, None, "0"),
    ],
)
def test_what_a_call_costs_under_the_owners_own_key_is_told_apart(
    usage: dict[str, Any], here: str | None, elsewhere: str | None
) -> None:
    bought = openrouter(**usage)
    assert bought.settled == (None if here is None else Decimal(here))
    assert bought.elsewhere == (None if elsewhere is None else Decimal(elsewhere))


@pytest.mark.parametrize(
    ("cost", "reserved", "most", "doubted"),
    [
        ("0.8", "0.04", "10", False),
        ("0.8001", "0.04", "10", True),
        ("1000000", "0.04", "10", True),
        ("10", None, "10", False),
        ("10.01", None, "10", True),
        ("10.01", "0", "10", True),
        ("0.5", "0", "10", False),
        ("12", "12", "10", False),
        ("12.01", "12", "10", True),
        ("21", "1", None, True),
        ("20", "1", None, False),
        ("1000", None, None, False),
        ("0", "0.04", "10", False),
    ],
)
def test_a_cost_is_doubted_above_twenty_times_its_reserve_and_above_the_most_of_a_call(
    cost: str, reserved: str | None, most: str | None, *, doubted: bool
) -> None:
    given = None if reserved is None else Decimal(reserved)
    said = complaint(Decimal(cost), given, most=None if most is None else Decimal(most))
    assert (said is not None) is doubted


@pytest.mark.parametrize(
    "value",
    [
        -1, "-0.04", "NaN", "Infinity", "-Infinity", "sNaN", "a lot", "", "1_000", "٣", "0x10", "1e5000", "9" * 5000,
        10**5000, Decimal("NaN"), Decimal("1e400"), Decimal("1e-400"), float("nan"), float("inf"), True, None, [], {},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_amount_is_not_a_cost(value: Any) -> None:
    assert cost_of(value) is None


def test_an_absurd_amount_is_an_amount_so_that_it_can_be_booked() -> None:
    assert cost_of(10**12) == 10**12
    assert amount_of("-12.5") == Decimal("-12.5")


@pytest.mark.parametrize(
    "number", [b"9" * 6000, b"-" + b"9" * 6000, b"1e" + b"9" * 30, b"1e-" + b"9" * 30, b"NaN"], ids=len
)
def test_a_number_that_nothing_can_hold_loses_neither_picture_nor_balance(number: bytes) -> None:
    link = b'"data": [{"url": "https://x.example/a", "mime_type": "image/png"}]'
    bought = submitted("getimg", reply(200, b'{"id": "a", %s, "usage": {"total_cost": %s}}' % (link, number)))
    assert (len(bought.images), bought.settled) == (1, None)
    media = b'{"data": {"media_id": "m", "credits_used": %s, "credits_remaining": %s}}' % (number, number)
    bought = submitted("posteverywhere", reply(201, media))
    assert (len(bought.images), bought.settled, bought.remaining) == (1, None, None)
    assert account("getimg", reply(200, b'{"balance": %s}' % number)).balance is None
