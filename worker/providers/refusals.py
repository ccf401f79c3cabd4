"""From HTTP status and a provider's own code to our code, whether it was bought, and when to try again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from pydantic import SecretStr

from shared.lifecycle import Outcome
from worker.providers.contract import LONGEST_WAIT_SECONDS, Refused, RetryRule
from worker.providers.reading import UnreadableError, is_page, read_json
from worker.providers.times import EPOCH_FROM, credible_wait, retry_after
from worker.providers.wording import MESSAGE_CHARS, line_of, web_address
from worker.transport.paid_post import Lost, NotSent, PaidReply

_CODE_CHARS: Final = 100
_GATEWAY_SECONDS: Final = 300.0  # the longest wait that whoever is not named as the provider may ask for
_STATUS: Final = re.compile(r"[45][0-9]{2}")
_OWN_STATUS: Final = range(400, 600)
# Words of the five documents that can mean nothing else than their status.
_PLAIN_WORDS: Final = {
    "unauthorized": 401,
    "authentication_failed": 401,
    "insufficient_credits": 402,
    "insufficient_balance": 402,
    "payment_required": 402,
    "too_many_requests": 429,
    "rate_limited": 429,
    "rate_limit_exceeded": 429,
}
_NOT_BOUGHT: Final = frozenset({401, 402, 429})


NAMED: Final = "*"
"""In a `RefusalRule`: any code. A code must be there, because a page without one may be a gateway's."""
NO_PAGE: Final = "**"
"""In a `RefusalRule`: whatever is no HTML page, for a provider whose document shows no error's form."""


@dataclass(frozen=True, slots=True)
class RefusalRule:
    """One line of a provider's error table; `upstream` None matches every answer of that status.

    `NAMED` matches any code, `NO_PAGE` all but a gateway's page. A refusal needs one of the two, unless its status is a
    proof in itself: 401, 402 and 429.
    """

    status: int
    upstream: str | None
    code: str
    outcome: Outcome
    again: RetryRule


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error body said, as far as it could be read."""

    code: str | None = None
    message: str | None = None
    action_url: str | None = None
    retryable: bool | None = None
    after_seconds: float | None = None
    is_page: bool = False
    """Whether it is an HTML page."""


def refused(reply: PaidReply, table: Sequence[RefusalRule], *, key: SecretStr) -> Refused:
    """Classify an error answer by `table`, first match; what no row names may have been bought.

    The message is the provider's, cut, and without our API `key` should it quote it.
    """
    body = _error_body(reply, key)
    row = _row(table, reply.status, body)
    again, code = _again(row, body)
    named = f" {body.code}" if body.code else ""
    message = f"HTTP {reply.status}{named}: {body.message or 'no message'}"
    wait = body.after_seconds if body.after_seconds is not None else retry_after(reply.headers)
    if wait is not None and (body.is_page or (reply.status >= 500 and body.code is None)):
        wait = min(wait, _GATEWAY_SECONDS)
    return Refused(
        outcome=row.outcome,
        again=again,
        code=code,
        message=message[:MESSAGE_CHARS],
        http_status=reply.status,
        after_seconds=wait,
        action_url=body.action_url,
    )


def inside(
    status: int, content: bytes, headers: Mapping[str, str], table: Sequence[RefusalRule], *, key: SecretStr
) -> Refused | None:
    """Return the refusal in the body of a success, in the provider's own words; None where the body holds no error.

    Whether it was bought is not known, unless the body itself names what can mean nothing else: 401, 402 or 429.
    """
    try:
        body = read_json(content)
    except UnreadableError:
        return None
    if not isinstance(body, dict) or not tells_error(body):
        return None
    said = _told(body, key)
    own = _own_status(body, said.code)
    row = _row(table, own, said) if own in _NOT_BOUGHT else None
    named = " ".join(dict.fromkeys(str(part) for part in (own, said.code) if part is not None))
    message = f"HTTP {status} with an error inside: {named or 'no code'}: {said.message or 'no message'}"
    outcome, again, code = Outcome.UNKNOWN, RetryRule.AFTER, "provider_error"
    if row is not None and row.outcome is Outcome.REJECTED:
        outcome, (again, code) = row.outcome, _again(row, said)
    return Refused(
        outcome=outcome,
        again=again,
        code=code,
        message=message[:MESSAGE_CHARS],
        http_status=status,
        after_seconds=said.after_seconds if said.after_seconds is not None else retry_after(headers),
        action_url=said.action_url,
    )


def tells_error(body: Mapping[str, Any]) -> bool:
    """Tell an error's envelope: `error` filled, `success` false, or Bloom's flat one with a status that is an error."""
    error = body.get("error")
    told = bool(error) if isinstance(error, dict | str) else False
    return told or body.get("success") is False or (body.get("status") in _OWN_STATUS and "code" in body)


def _own_status(body: Mapping[str, Any], code: str | None) -> int | None:
    """Return the HTTP status that a body names itself, as a number or by a word that stands for one."""
    error = _object(body.get("error")) or body
    given = (error.get("status"), error.get("http_status"), error.get("code"))
    numbers = (int(one) for one in given if isinstance(one, int) or (isinstance(one, str) and _STATUS.fullmatch(one)))
    named = next((number for number in numbers if number in _OWN_STATUS), None)
    return named if named is not None else _PLAIN_WORDS.get((code or "").casefold())


def _row(table: Sequence[RefusalRule], status: int | None, body: ErrorBody) -> RefusalRule:
    found = (row for row in table if row.status == status and _matches(row, body))
    return next(found, None) or _by_status(status or 0)


def _matches(row: RefusalRule, body: ErrorBody) -> bool:
    named = row.upstream == NAMED and body.code is not None
    return row.upstream in {None, body.code} or named or (row.upstream == NO_PAGE and not body.is_page)


def _again(row: RefusalRule, body: ErrorBody) -> tuple[RetryRule, str]:
    """Let the provider's own hint set when to try again; whether it was bought is not its to say."""
    hinted = {None: row.again, True: RetryRule.AFTER, False: RetryRule.NEVER}[body.retryable]
    if row.again is RetryRule.RESUME or hinted is row.again:
        return row.again, row.code
    # The code says what becomes of the job, so a hint that changes that changes the code.
    turned = "provider_unavailable" if hinted is RetryRule.AFTER else "provider_rejected"
    return hinted, turned if row.outcome is Outcome.REJECTED else row.code


def without_answer(result: NotSent | Lost) -> Refused:
    """Say what a call that brought no whole answer means."""
    if isinstance(result, NotSent):
        return Refused(Outcome.NOT_SENT, RetryRule.AFTER, "provider_unreachable", result.reason)
    code = "answer_lost" if result.status is None else "answer_unreadable"
    return Refused(Outcome.UNKNOWN, RetryRule.AFTER, code, result.reason, http_status=result.status)


def unreadable(reply: PaidReply, error: UnreadableError) -> Refused:
    """Say what a success that cannot be read means: it may well have been bought."""
    return unread(reply.status, error)


def unread(status: int, error: UnreadableError) -> Refused:
    """Say the same of a success that was kept and has only its `status` left here."""
    message = f"HTTP {status}, but {error}"
    return Refused(Outcome.UNKNOWN, RetryRule.AFTER, "answer_unreadable", message, http_status=status)


def _by_status(status: int) -> RefusalRule:
    """Return what an answer means that no document names: it may have been bought.

    A redirect or an unknown path will meet every job alike: the account pauses instead of holding them one by one.
    """
    if 300 <= status < 400 or status in {404, 405}:
        return RefusalRule(status, None, "account_address_wrong", Outcome.UNKNOWN, RetryRule.RESUME)
    again = RetryRule.AFTER if status >= 500 or status == 408 else RetryRule.NEVER
    return RefusalRule(status, None, "provider_error", Outcome.UNKNOWN, again)


def _error_body(reply: PaidReply, key: SecretStr) -> ErrorBody:
    """Read the envelopes in use: flat, or nested in `error`, which may also be plain text."""
    if 300 <= reply.status < 400:
        return ErrorBody(message="a redirect, which is never followed; check the account's base URL")
    try:
        body = read_json(reply.body)
    except UnreadableError as fault:
        return ErrorBody(message=str(fault), is_page=is_page(reply.body))
    if not isinstance(body, dict):
        return ErrorBody(message="an error that is not an object")
    return _told(body, key)


def _told(body: Mapping[str, Any], key: SecretStr) -> ErrorBody:
    nested = body.get("error")
    error = nested if isinstance(nested, dict) else {"message": nested, **body}
    data = error.get("data")
    hint = _object(error.get("availability")) or error
    return ErrorBody(
        code=_kind(error, key) or line_of(error.get("code"), key, most=_CODE_CHARS),
        message=line_of(error.get("message"), key),
        action_url=web_address(data.get("action_url") if isinstance(data, dict) else None, key),
        retryable=hint["retryable"] if isinstance(hint.get("retryable"), bool) else None,
        after_seconds=_wait_in(hint),
    )


def _kind(error: Mapping[str, Any], key: SecretStr) -> str | None:
    """Return OpenRouter's own word, which stands in `metadata` or beside it, where `code` repeats the HTTP status."""
    metadata = _object(error.get("metadata"))
    if "reasons" in metadata or "flagged_input" in metadata:
        return "moderation"
    words = (line_of(word, key, most=_CODE_CHARS) for word in (metadata.get("error_type"), error.get("error_type")))
    return next(filter(None, words), None)


def _wait_in(hint: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait that a body names: OpenRouter's `retry_after`, PostEverywhere's `retryAfter`."""
    given = (hint.get("retry_after"), hint.get("retryAfter"), _object(hint.get("details")).get("retryAfter"))
    return next((seconds for seconds in map(_seconds, given) if seconds is not None), None)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if not isfinite(value) or not 0 <= value < EPOCH_FROM:  # a Decimal NaN cannot be compared
        return None
    return min(credible_wait(float(value)), LONGEST_WAIT_SECONDS)
