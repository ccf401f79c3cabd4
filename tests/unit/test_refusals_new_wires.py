"""Error answers of OpenRouter, PostEverywhere and Banatie, row by row: was it bought, and when to try again."""

from typing import Any

import pytest

from shared.lifecycle import Outcome
from tests.support.canned_wire import account, polled, reply, submitted, verdict
from worker.providers.contract import Refused, RetryRule
from worker.transport.paid_post import PaidReply

NO, MAYBE = Outcome.REJECTED, Outcome.UNKNOWN
NEVER, AFTER, RESUME = RetryRule.NEVER, RetryRule.AFTER, RetryRule.RESUME
HELD = (MAYBE, AFTER, "provider_error")
LOST_ITS_WAY = (MAYBE, RESUME, "account_address_wrong")


def openrouter_error(status: int, kind: str, shape: str) -> PaidReply:
    typed = {"message": "why", "error_type": kind, "http_status": status}
    coded = {"code": status, "message": "why", "metadata": {"error_type": kind}}
    return reply(status, {"error": typed if shape == "typed" else coded})


@pytest.mark.parametrize("shape", ["code", "typed"])
@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request", (NO, NEVER, "provider_rejected")),
        (400, "invalid_prompt", (NO, NEVER, "provider_rejected")),
        (400, "image_too_large", (NO, NEVER, "provider_rejected")),
        (400, "content_policy_violation", (NO, NEVER, "content_refused")),
        (400, "refusal", (NO, NEVER, "content_refused")),
        (401, "authentication", (NO, RESUME, "account_unauthorized")),
        (402, "payment_required", (NO, RESUME, "account_out_of_credit")),
        (403, "permission_denied", (NO, RESUME, "account_forbidden")),
        (403, "content_policy_violation", (NO, NEVER, "content_refused")),
        (404, "not_found", (NO, NEVER, "not_found")),
        (408, "timeout", HELD),
        (413, "payload_too_large", (NO, NEVER, "provider_rejected")),
        (422, "unprocessable", (NO, NEVER, "provider_rejected")),
        (429, "rate_limit_exceeded", (NO, AFTER, "rate_limited")),
        (500, "server", HELD),
        (502, "provider_unavailable", (NO, AFTER, "provider_unavailable")),
        (503, "provider_overloaded", HELD),
        (504, "timeout", HELD),
        (524, "timeout", HELD),
        (529, "provider_overloaded", HELD),
    ],
)
def test_each_error_of_openrouter_says_whether_it_was_bought(status: int, kind: str, expected: Any, shape: str) -> None:
    refused = submitted("openrouter", openrouter_error(status, kind, shape))
    assert verdict(refused) == expected
    assert refused.message == f"HTTP {status} {kind}: why"


@pytest.mark.parametrize("metadata", [{"reasons": ["x"]}, {"flagged_input": "x"}, {"reasons": []}])
def test_a_moderated_prompt_never_stops_the_account(metadata: Any) -> None:
    body = {"error": {"code": 403, "message": "flagged", "metadata": metadata}}
    assert verdict(submitted("openrouter", reply(403, body))) == (NO, NEVER, "content_refused")


@pytest.mark.parametrize(
    ("status", "hint", "expected", "seconds"),
    [
        (404, {"retryable": True, "retry_after": 5}, (NO, AFTER, "provider_unavailable"), 5),
        (404, {"retryable": False}, (NO, NEVER, "not_found"), None),
        (503, {"retryable": True, "retry_after": 5.5}, HELD, 5.5),
        (503, {"retryable": False}, (MAYBE, NEVER, "provider_error"), None),
        (502, {"retryable": False}, (NO, NEVER, "provider_rejected"), None),
        (500, {"retryable": True}, HELD, None),
        (402, {"retryable": True}, (NO, RESUME, "account_out_of_credit"), None),
        (503, {"retryable": "yes", "retry_after": -1}, HELD, None),
        (503, {"retry_after": 10**9}, HELD, None),
        (503, [], HELD, None),
    ],
)
def test_availability_sets_the_pace_and_never_turns_unknown_into_rejected(
    status: int, hint: Any, expected: Any, seconds: float | None
) -> None:
    error = {"code": status, "message": "why", "availability": hint}
    refused = submitted("openrouter", reply(status, {"error": error}))
    assert verdict(refused) == expected
    assert refused.after_seconds == seconds


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        *((400, code, (NO, NEVER, "provider_rejected")) for code in ("validation_error", "invalid_json", "new")),
        (401, "unauthorized", (NO, RESUME, "account_unauthorized")),
        (401, "authentication_failed", (NO, RESUME, "account_unauthorized")),
        (402, "insufficient_credits", (NO, RESUME, "account_out_of_credit")),
        (403, "forbidden", (NO, RESUME, "account_forbidden")),
        (404, "not_found", (NO, NEVER, "not_found")),
        (409, "conflict", (NO, NEVER, "provider_rejected")),
        (415, "unsupported_media_type", (NO, NEVER, "provider_rejected")),
        (422, "permanent_failure_circuit_breaker", (NO, NEVER, "provider_rejected")),
        (429, "rate_limit_exceeded", (NO, AFTER, "rate_limited")),
        (429, "rate_limited", (NO, AFTER, "rate_limited")),
        (500, "internal_error", HELD),
        (502, "bad_gateway", HELD),
        (503, "service_unavailable", HELD),
    ],
)
def test_each_error_of_posteverywhere_says_whether_it_was_bought(status: int, code: str, expected: Any) -> None:
    body = {"data": None, "error": {"message": "why", "code": code}, "meta": {"request_id": "r"}}
    assert verdict(submitted("posteverywhere", reply(status, body))) == expected


@pytest.mark.parametrize(
    ("status", "retryable", "expected"),
    [
        (400, True, (NO, AFTER, "provider_unavailable")),
        (429, False, (NO, NEVER, "provider_rejected")),
        (401, True, (NO, RESUME, "account_unauthorized")),
        (500, True, HELD),
        (500, False, (MAYBE, NEVER, "provider_error")),
        (503, True, HELD),
    ],
)
def test_retryable_is_preferred_to_the_status_but_buys_nothing_twice(
    status: int, *, retryable: bool, expected: Any
) -> None:
    body = {"data": None, "error": {"message": "why", "code": "c", "retryable": retryable}}
    assert verdict(submitted("posteverywhere", reply(status, body))) == expected


@pytest.mark.parametrize("where", [{"retryAfter": 9}, {"details": {"retryAfter": 9}}, {"retry_after": 9}])
def test_a_wait_in_the_body_counts_before_the_header(where: Any) -> None:
    body = {"data": None, "error": {"message": "why", "code": "rate_limited", **where}}
    assert submitted("posteverywhere", reply(429, body, {"retry-after": "30"})).after_seconds == 9


@pytest.mark.parametrize(("given", "seconds"), [(3600, 3600), (90_000, 90), (5000, 60)])
def test_a_wait_in_the_body_that_is_longer_than_any_window_is_in_milliseconds(given: int, seconds: int) -> None:
    body = {"data": None, "error": {"message": "why", "code": "rate_limited", "retryAfter": given}}
    assert submitted("posteverywhere", reply(429, body)).after_seconds == seconds


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "VALIDATION_ERROR", (NO, NEVER, "provider_rejected")),
        (401, "UNAUTHORIZED", (NO, RESUME, "account_unauthorized")),
        (402, "PAYMENT_REQUIRED", (NO, RESUME, "account_out_of_credit")),
        (403, "FORBIDDEN", (NO, RESUME, "account_forbidden")),
        (404, "IMAGE_NOT_FOUND", (NO, NEVER, "not_found")),
        (409, "ALIAS_CONFLICT", (NO, NEVER, "provider_rejected")),
        (409, "SOMETHING_NEW", (MAYBE, NEVER, "provider_error")),
        (429, "RATE_LIMIT_EXCEEDED", (NO, AFTER, "rate_limited")),
        (500, "GENERATION_FAILED", HELD),
        (500, "INTERNAL_ERROR", HELD),
        (503, "OVERLOADED", HELD),
    ],
)
def test_each_error_of_banatie_says_whether_it_was_bought(status: int, code: str, expected: Any) -> None:
    assert verdict(
        submitted("banatie", reply(status, {"success": False, "error": {"message": "why", "code": code}}))
    ) == (expected)


PAGES = [b"<!doctype html><title>404</title>", b"", b"Not Found", {"detail": "Not Found"}, b"[]", b"null", b"\xff"]
NEW = pytest.mark.parametrize("provider", ["openrouter", "posteverywhere", "banatie"])


@NEW
@pytest.mark.parametrize("body", PAGES)
def test_a_404_that_the_provider_did_not_word_pauses_the_account_instead_of_ending_every_job(
    provider: str, body: Any
) -> None:
    assert verdict(submitted(provider, reply(404, body))) == LOST_ITS_WAY
    assert verdict(submitted(provider, reply(405, body))) == LOST_ITS_WAY


@pytest.mark.parametrize("body", [b"<html>502 Bad gateway</html>", b"", {"title": "bad gateway", "error_code": 502}])
def test_a_502_of_a_gateway_is_not_openrouters_word_that_nothing_was_billed(body: Any) -> None:
    assert verdict(submitted("openrouter", reply(502, body))) == HELD


@pytest.mark.parametrize("provider", ["posteverywhere", "banatie"])
@pytest.mark.parametrize("body", [*PAGES, {"error": {"code": "OTHER", "message": "no such route"}}])
def test_a_404_that_does_not_name_the_picture_neither_loses_it_nor_stops_the_account(provider: str, body: Any) -> None:
    for ids in (["a"], ["a", "b"]):
        refused = polled(reply(404, body), *ids, provider=provider)
        assert isinstance(refused, Refused)
        assert refused.again is AFTER


@NEW
@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 503])
def test_a_look_at_the_account_that_fails_never_stops_it(provider: str, status: int) -> None:
    refused = account(provider, reply(status, {"error": {"code": "x", "message": "why"}}))
    assert (refused.again, refused.http_status) == (AFTER, status)


@pytest.mark.parametrize("wait", ["1e999999999999999999999", "9" * 2000, "NaN", "Infinity", "-1", "true", '"30"', "[]"])
@pytest.mark.parametrize("provider", ["bloom", "getimg", "openrouter", "posteverywhere", "banatie"])
def test_a_wait_that_no_number_can_hold_is_no_wait(provider: str, wait: str) -> None:
    body = b'{"error": {"code": 429, "message": "no", "retry_after": %b}}' % wait.encode()
    refused = submitted(provider, reply(429, body))
    assert (*verdict(refused), refused.after_seconds) == (NO, AFTER, "rate_limited", None)
