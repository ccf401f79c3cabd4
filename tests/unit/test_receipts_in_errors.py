"""A refusal that holds a whole receipt may have been bought, wherever in the error it stands."""

from typing import Any

import pytest

from shared.lifecycle import Outcome
from tests.support.canned_wire import reply, submitted
from worker.providers.contract import Refused

ERROR = {"code": "rate_limit_exceeded", "message": "no"}
RECEIPTS: dict[str, Any] = {
    "bloom": {"ids": ["a1"], "variantGroupId": None, "status": "pending"},
    "posteverywhere": {"media_id": "a1", "media_ids": ["a1"]},
    "banatie": {"id": "a1", "status": "pending"},
    "getimg": [{"url": "https://api.getimg.ai/v2/downloads/a1/0?exp=4000000000", "deletes_at": "2096-01-01T00:00:00Z"}],
}
HARMLESS: dict[str, Any] = {
    "bloom": {"action_url": "https://www.trybloom.ai/pricing"},
    "posteverywhere": {"credits_required": 15, "credits_available": 3, "model": "nano-banana-pro"},
    "banatie": {"limit": 100, "fields": [{"field": "prompt", "message": "too long"}]},
    "getimg": [{"url": "https://your-bucket.s3.amazonaws.com/reference.png", "reason": "unsafe"}],
}
STATUSES = pytest.mark.parametrize("status", [400, 401, 402, 409, 422, 429, 200])
PROVIDERS = pytest.mark.parametrize("provider", list(RECEIPTS))


def shapes(part: Any) -> list[dict[str, Any]]:
    return [
        {"error": {**ERROR, "data": part}},
        {"error": {**ERROR, "details": part}, "data": None, "success": False},
        {"error": {**ERROR, "details": {"data": part}}},
        {"error": {**ERROR, "metadata": part}},
        {"error": "Too many requests", "details": part},
        {**ERROR, "result": part},
    ]


@STATUSES
@PROVIDERS
def test_a_receipt_inside_an_error_is_not_refused_and_its_answer_is_kept(provider: str, status: int) -> None:
    for body in shapes(RECEIPTS[provider]):
        told = submitted(provider, reply(status, body))
        assert isinstance(told, Refused)
        assert told.outcome is Outcome.UNKNOWN
        assert told.body


@pytest.mark.parametrize("status", [401, 402, 429])
@PROVIDERS
def test_what_an_error_explains_is_no_receipt(provider: str, status: int) -> None:
    for body in shapes(HARMLESS[provider]):
        assert submitted(provider, reply(status, body)).outcome is Outcome.REJECTED


@pytest.mark.parametrize("status", [400, 402, 409, 422, 429])
@pytest.mark.parametrize("header", ["Location", "Operation-Location"])
@PROVIDERS
def test_a_refusal_that_says_where_something_is_may_have_made_it(provider: str, header: str, status: int) -> None:
    told = submitted(provider, reply(status, {"error": ERROR}, {header: "/images/a1"}))
    assert (told.outcome, "/images/a1" in told.message) == (Outcome.UNKNOWN, True)
    page = submitted(provider, reply(status, {"error": ERROR}, {"Content-Location": "/429.html"}))
    assert page.outcome is submitted(provider, reply(status, {"error": ERROR})).outcome


def test_an_inline_answer_that_says_where_something_is_may_have_made_it_too() -> None:
    told = submitted("openrouter", reply(429, {"error": {"code": 429, "message": "no"}}, {"Location": "/images/a1"}))
    assert told.outcome is Outcome.UNKNOWN


@PROVIDERS
def test_the_place_of_a_login_page_is_no_receipt(provider: str) -> None:
    assert submitted(provider, reply(401, {"error": ERROR}, {"Location": "/login"})).outcome is Outcome.REJECTED
