"""Error answers of every wire, Bloom's and getimg's row by row: was it bought, and when to try again."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from shared.lifecycle import Outcome
from tests.support.canned_wire import KEY, reply, submitted, verdict
from worker.providers.contract import RetryRule
from worker.providers.times import retry_after
from worker.transport.paid_post import Lost, NotSent

NO, MAYBE = Outcome.REJECTED, Outcome.UNKNOWN
NEVER, AFTER, RESUME = RetryRule.NEVER, RetryRule.AFTER, RetryRule.RESUME
EACH = pytest.mark.parametrize("provider", ["bloom", "getimg", "openrouter", "posteverywhere", "banatie"])


@pytest.mark.parametrize("envelope", ["flat", "nested"])
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "SESSION_MISSING_BRAND_IMAGE", (NO, NEVER, "provider_rejected")),
        (400, "REFERENCE_LIMIT_EXCEEDED", (NO, NEVER, "provider_rejected")),
        (400, "BAD_REQUEST", (NO, NEVER, "provider_rejected")),
        (401, "UNAUTHORIZED", (NO, RESUME, "account_unauthorized")),
        (402, "INSUFFICIENT_CREDITS", (NO, RESUME, "account_out_of_credit")),
        (402, "PAYMENT_REQUIRED", (NO, RESUME, "account_out_of_credit")),
        (403, "ACCOUNT_BANNED", (NO, RESUME, "account_forbidden")),
        (403, "FORBIDDEN", (NO, RESUME, "account_forbidden")),
        (403, "FEATURE_NOT_ENTITLED", (NO, NEVER, "not_entitled")),
        (404, "REFERENCE_IMAGE_NOT_FOUND", (NO, NEVER, "not_found")),
        (404, "NOT_FOUND", (MAYBE, RESUME, "account_address_wrong")),
        (405, "METHOD_NOT_SUPPORTED", (MAYBE, RESUME, "account_address_wrong")),
        (409, "BRAND_NOT_READY", (NO, AFTER, "brand_not_ready")),
        (409, "SOMETHING_NEW", (MAYBE, NEVER, "provider_error")),
        (422, "BRAND_NOT_FOUND", (NO, NEVER, "provider_rejected")),
        (429, "TOO_MANY_REQUESTS", (NO, AFTER, "rate_limited")),
        (418, "TEAPOT", (MAYBE, NEVER, "provider_error")),
        (500, "INTERNAL_SERVER_ERROR", (MAYBE, AFTER, "provider_error")),
        (502, "BAD_GATEWAY", (MAYBE, AFTER, "provider_error")),
        (503, "SERVICE_UNAVAILABLE", (MAYBE, AFTER, "provider_error")),
        (504, "GATEWAY_TIMEOUT", (MAYBE, AFTER, "provider_error")),
    ],
)
def test_each_error_of_bloom_says_whether_it_was_bought(status: int, code: str, expected: Any, envelope: str) -> None:
    error = {"code": code, "status": status, "message": "why", "data": {"action_url": "https://trybloom.ai/pricing"}}
    body = {"error": error} if envelope == "nested" else {"defined": True, **error}
    refused = submitted("bloom", reply(status, body))
    assert verdict(refused) == expected
    assert refused.message == f"HTTP {status} {code}: why"
    assert (refused.http_status, refused.action_url) == (status, "https://trybloom.ai/pricing")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, (NO, NEVER, "provider_rejected")),
        (401, (NO, RESUME, "account_unauthorized")),
        (402, (NO, RESUME, "account_out_of_credit")),
        (403, (NO, RESUME, "account_forbidden")),
        (404, (NO, NEVER, "not_found")),
        (409, (MAYBE, NEVER, "provider_error")),
        (413, (MAYBE, NEVER, "provider_error")),
        (422, (NO, NEVER, "content_refused")),
        (429, (NO, AFTER, "rate_limited")),
        (500, (MAYBE, AFTER, "provider_error")),
        (503, (MAYBE, AFTER, "provider_error")),
        (599, (MAYBE, AFTER, "provider_error")),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "c", "message": "why"}},
        {"code": "c", "message": "why"},
        {"error": "why"},
        b"why, in plain text",
        b"",
        b"\xff\xfe\x80",
        b"[]",
        b"[" * 100_000,
        {"error": {"code": ["c"], "message": {"m": 1}, "data": [1]}},
        {"code": 7, "message": True},
    ],
)
def test_the_status_decides_at_getimg_whatever_a_body_says_that_is_no_page(
    status: int, expected: Any, body: Any
) -> None:
    refused = submitted("getimg", reply(status, body))
    assert verdict(refused) == expected
    assert refused.message.startswith(f"HTTP {status}")


PAGES = [
    b"<!doctype html><title>blocked</title>",
    b"\xef\xbb\xbf\n<HTML><body>403 Forbidden</body></HTML>",
    b"<!-- a firewall --><html>",
    b'<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml">',
    b"<h1>Blocked</h1>",
]


@EACH
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 415, 422, 502])
def test_a_page_of_a_gateway_does_not_say_that_nothing_was_bought(provider: str, status: int, page: bytes) -> None:
    refused = submitted(provider, reply(status, page, {"content-type": "text/html"}))
    assert refused.outcome is MAYBE
    assert refused.code in {"provider_error", "account_address_wrong"}


@EACH
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("status", [401, 402, 429])
def test_a_status_that_can_mean_nothing_else_is_believed_on_any_page(provider: str, status: int, page: bytes) -> None:
    assert submitted(provider, reply(status, page)).outcome is NO


@pytest.mark.parametrize("provider", ["bloom", "openrouter", "posteverywhere", "banatie"])
@pytest.mark.parametrize("body", [b"", b"Forbidden", b"[]", {"message": "Forbidden"}, {"error": "blocked"}, b"null"])
@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_refusal_without_a_code_is_not_the_word_of_a_provider_whose_errors_have_one(
    provider: str, status: int, body: Any
) -> None:
    assert submitted(provider, reply(status, body)).outcome is MAYBE


@EACH
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_may_have_been_bought_and_pauses_the_account_instead_of_holding_every_job(
    provider: str, status: int
) -> None:
    refused = submitted(provider, reply(status, b"moved", {"location": "https://elsewhere.example/?sig=1"}))
    assert verdict(refused) == (MAYBE, RESUME, "account_address_wrong")
    assert "elsewhere" not in refused.message


@EACH
def test_what_was_never_sent_waits_and_what_was_lost_is_held(provider: str) -> None:
    assert verdict(submitted(provider, NotSent("no way"))) == (Outcome.NOT_SENT, AFTER, "provider_unreachable")
    assert verdict(submitted(provider, Lost("gone"))) == (MAYBE, AFTER, "answer_lost")
    assert verdict(submitted(provider, Lost("cut", 200, b'{"data":'))) == (MAYBE, AFTER, "answer_unreadable")
    assert verdict(submitted(provider, Lost("cut", 401, b"{}"))) == (MAYBE, AFTER, "answer_unreadable")


@EACH
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b"{}", b'{"data":{}}', b'{"data":[]}', b"\xff"])
@pytest.mark.parametrize("status", [200, 202])
def test_a_success_that_cannot_be_read_may_have_been_bought(provider: str, body: bytes, status: int) -> None:
    assert verdict(submitted(provider, reply(status, body))) == (MAYBE, AFTER, "answer_unreadable")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a\x00b\ud800c\nd", "HTTP 400: a b c d"),
        ("x" * 2000, "HTTP 400: " + "x" * 490),
        (f"the key {KEY} is wrong", "HTTP 400: the key <the API key> is wrong"),
    ],
)
@EACH
def test_a_message_can_be_stored_and_quotes_no_key(provider: str, message: str, expected: str) -> None:
    assert submitted(provider, reply(400, {"message": message})).message == expected


@pytest.mark.parametrize("link", ["javascript:alert(1)", {"a": 1}, 7, None, "http://[", ""])
def test_only_a_web_address_becomes_an_action_link(link: Any) -> None:
    assert submitted("bloom", reply(402, {"code": "X", "data": {"action_url": link}})).action_url is None


@EACH
@pytest.mark.parametrize(
    ("status", "body", "seconds"),
    [
        (503, b"<html>maintenance</html>", 300),
        (503, b"", 300),
        (500, {"message": "down"}, 300),
        (429, b"<html>slow down</html>", 300),
        (429, {"error": {"code": "rate_limited", "message": "the day's quota"}}, 86_400),
        (503, {"error": {"code": "unavailable", "message": "for a day"}}, 86_400),
    ],
)
def test_who_is_not_named_as_the_provider_stops_an_account_for_minutes_at_most(
    provider: str, status: int, body: Any, seconds: float
) -> None:
    refused = submitted(provider, reply(status, body, {"Retry-After": "86400"}))
    assert refused.after_seconds == seconds
    assert submitted(provider, reply(status, body, {"Retry-After": "7"})).after_seconds == 7


NOW = datetime(2027, 1, 1, tzinfo=UTC)
EPOCH = str(int(NOW.timestamp()) + 30)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "Fri, 01 Jan 2027 00:01:00 GMT"}, 60),
        ({"Retry-After": "Fri, 01 Jan 2027 00:01:00 -0000"}, 60),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT"}, 0),
        ({"Retry-After": "99999999999"}, 86_400),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "9"}, 9),
        ({"Retry-After": "3", "X-RateLimit-Reset": "9"}, 3),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "12"}, 12),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": EPOCH}, 30),
        ({"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": EPOCH}, None),
        ({"X-RateLimit-Reset": "²"}, None),
        ({"X-RateLimit-Reset": "1000000001"}, 0),
        ({"X-RateLimit-Reset": EPOCH + "000"}, 30),  # milliseconds
        ({"X-RateLimit-Reset": "3600"}, 3600),
        ({"X-RateLimit-Reset": "90000"}, 90),  # milliseconds left: no documented window is longer than an hour
        ({"X-RateLimit-Reset": "7200"}, 60),  # seconds or milliseconds
        ({"X-RateLimit-Reset": "2027-01-01T00:00:30Z"}, 30),
        ({"X-RateLimit-Reset": "2026-01-01T00:00:30Z"}, 0),
        ({"RateLimit-Reset": "9"}, 9),
        ({"RateLimit-Remaining": "3", "RateLimit-Reset": "9"}, None),
        ({"X-RateLimit-Reset-After": "1.5"}, 1.5),
        ({"Retry-After": EPOCH}, 30),
        ({"Retry-After": EPOCH + "000"}, 30),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After": "2", "Retry-After-Ms": "1500"}, 2),
    ],
)
def test_the_wait_is_read_from_what_the_headers_say(headers: dict[str, str], seconds: float | None) -> None:
    encoded = httpx.Headers({name.encode(): value.encode("latin-1") for name, value in headers.items()})
    assert retry_after(encoded, now=NOW) == seconds
