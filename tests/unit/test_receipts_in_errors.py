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


NAMES: list[dict[str, Any]] = [
    {"ids": ["a1"]},
    {"imageIds": ["a1"]},
    {"media_id": "a1"},
    {"generationId": "a1"},
    {"generation": {"id": "a1", "status": "pending"}},
    {"image": {"id": 7}},
]
FIVE = pytest.mark.parametrize("provider", [*RECEIPTS, "openrouter"])


@pytest.mark.parametrize("status", [401, 402, 429, 200])
@pytest.mark.parametrize("named", NAMES, ids=str)
@FIVE
def test_an_error_that_is_not_about_the_row_and_names_a_picture_is_not_refused(
    provider: str, named: dict[str, Any], status: int
) -> None:
    """A limit or an empty balance names nothing: what it names was made, or will be."""
    own = {200: 429}.get(status, status)
    error = {"code": own, "message": "no"}
    for body in (
        {"error": {**error, **named}},
        {"error": error, **named},
        {"error": {**error, "details": {"data": named}}},
        {"error": error, "data": [named]},
        {"error": error, "errors": [{**error, **named}]},
    ):
        told = submitted(provider, reply(status, body))
        assert (told.outcome, bool(told.body) or status == 200) == (Outcome.UNKNOWN, True), body


ECHOES: list[dict[str, Any]] = [
    {"id": "error-7"},
    {"request": {"ids": ["a1"], "image": {"id": "a1"}}},
    {"request_id": "r1"},
    {"ids": []},
    {"generation": None},
    {"media_id": ""},
]


@pytest.mark.parametrize("status", [401, 402, 429])
@FIVE
def test_what_an_error_echoes_of_the_request_or_numbers_itself_by_names_no_picture(provider: str, status: int) -> None:
    for more in ECHOES:
        body = {"error": {"code": status, "message": "no", **more}}
        assert submitted(provider, reply(status, body)).outcome is Outcome.REJECTED, more


@pytest.mark.parametrize("status", [400, 422])
@PROVIDERS
def test_an_error_about_the_row_may_name_the_rows_own_reference(provider: str, status: int) -> None:
    error = {"code": "REFERENCE_IMAGE_NOT_FOUND", "message": "no", "imageId": "a1"}
    told = submitted(provider, reply(status, {"error": error}))
    assert told.outcome is submitted(provider, reply(status, {"error": ERROR})).outcome


@pytest.mark.parametrize("header", ["Location", "Operation-Location"])
@pytest.mark.parametrize("status", [200, 202])
@PROVIDERS
def test_a_success_with_an_error_inside_that_says_where_something_is_may_have_made_it(
    provider: str, status: int, header: str
) -> None:
    told = submitted(provider, reply(status, {"error": {"code": 429, "message": "no"}}, {header: "/images/a1"}))
    assert (told.outcome, "/images/a1" in told.message) == (Outcome.UNKNOWN, True)
