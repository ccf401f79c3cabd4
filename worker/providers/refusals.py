"""From HTTP status and a provider's own code to our code, whether it was bought, and when to try again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.lifecycle import Outcome
from worker.fetch import retry_after_seconds
from worker.paid_post import Lost, NotSent, Reply
from worker.providers.contract import LONGEST_WAIT_SECONDS, Again, Refused, UnreadableError, read_json

_MESSAGE_CHARS: Final = 500
_EPOCH_FROM: Final = 1_000_000_000  # a rate-limit reset beyond it is a moment, below it seconds left
_MILLISECONDS_FROM: Final = 100_000_000_000  # beyond it, a moment in milliseconds
_SECONDS: Final = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,9})?")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


NAMED: Final = "*"
"""In a `Row`: any code, but there must be one, so that a gateway's own page is not taken for the provider's word."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a provider's error table; `upstream` None matches every answer of that status, `NAMED` any code."""

    status: int
    upstream: str | None
    code: str
    outcome: Outcome
    again: Again


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error body said, as far as it could be read."""

    code: str | None = None
    message: str | None = None
    action_url: str | None = None
    retryable: bool | None = None
    after_seconds: float | None = None


def refused(reply: Reply, table: Sequence[Row], *, key: SecretStr) -> Refused:
    """Classify an error answer by `table`, first match; what no row names may have been bought.

    The message is the provider's, cut, and without our API `key` should it quote it.
    """
    body = _error_body(reply)
    row = next((row for row in table if _matches(row, reply.status, body.code)), None) or _unlisted(reply.status)
    again, code = _again(row, body)
    named = f" {body.code}" if body.code else ""
    message = f"HTTP {reply.status}{named}: {body.message or 'no message'}"
    return Refused(
        outcome=row.outcome,
        again=again,
        code=code,
        message=message.replace(key.get_secret_value(), "<the API key>")[:_MESSAGE_CHARS],
        http_status=reply.status,
        after_seconds=body.after_seconds if body.after_seconds is not None else retry_after(reply.headers),
        action_url=body.action_url,
    )


def _matches(row: Row, status: int, code: str | None) -> bool:
    return row.status == status and (row.upstream in {None, code} or (row.upstream == NAMED and code is not None))


def _again(row: Row, body: ErrorBody) -> tuple[Again, str]:
    """Let the provider's own hint set when to try again; whether it was bought is not its to say."""
    hinted = {None: row.again, True: Again.AFTER, False: Again.NEVER}[body.retryable]
    if row.again is Again.RESUME or hinted is row.again:
        return row.again, row.code
    # The code says what becomes of the job, so a hint that changes that changes the code.
    turned = "provider_unavailable" if hinted is Again.AFTER else "provider_rejected"
    return hinted, turned if row.outcome is Outcome.REJECTED else row.code


def without_answer(result: NotSent | Lost) -> Refused:
    """Say what a call that brought no whole answer means."""
    if isinstance(result, NotSent):
        return Refused(Outcome.NOT_SENT, Again.AFTER, "provider_unreachable", result.reason)
    code = "answer_lost" if result.status is None else "answer_unreadable"
    return Refused(Outcome.UNKNOWN, Again.AFTER, code, result.reason, http_status=result.status)


def unreadable(reply: Reply, error: UnreadableError) -> Refused:
    """Say what a success that cannot be read means: it may well have been bought."""
    return unread(reply.status, error)


def unread(status: int, error: UnreadableError) -> Refused:
    """Say the same of a success that was kept and has only its `status` left here."""
    message = f"HTTP {status}, but {error}"
    return Refused(Outcome.UNKNOWN, Again.AFTER, "answer_unreadable", message, http_status=status)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds a provider asks to wait: Retry-After as seconds or date (RFC 9110), else X-RateLimit-Reset.

    At most a day. The reset is a Unix time in seconds or milliseconds, or the seconds left (documents disagree or are
    silent), and counts unless requests remain.
    """
    now = now or datetime.now(UTC)
    given = headers.get("retry-after", "").strip()
    wait = float(given) if _SECONDS.fullmatch(given) else retry_after_seconds(given or None, now)
    reset = headers.get("x-ratelimit-reset", "").strip()
    if wait is None and headers.get("x-ratelimit-remaining", "0").strip() == "0" and _SECONDS.fullmatch(reset):
        wait = float(reset)
        wait = wait / 1000 if wait > _MILLISECONDS_FROM else wait
        wait = max(0.0, wait - now.timestamp()) if wait > _EPOCH_FROM else wait
    return None if wait is None else min(wait, LONGEST_WAIT_SECONDS)


def moment(text: Any) -> datetime:
    """Read an ISO 8601 time, in UTC where it names no zone; raises `UnreadableError`."""
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableError("a time that is not ISO 8601") from None


def _unlisted(status: int) -> Row:
    """Return what an answer means that no document names: it may have been bought.

    A redirect or an unknown path will meet every job alike: the account pauses instead of holding them one by one.
    """
    if 300 <= status < 400 or status in {404, 405}:
        return Row(status, None, "account_address_wrong", Outcome.UNKNOWN, Again.RESUME)
    again = Again.AFTER if status >= 500 or status == 408 else Again.NEVER
    return Row(status, None, "provider_error", Outcome.UNKNOWN, again)


def _error_body(reply: Reply) -> ErrorBody:
    """Read the envelopes in use: flat, or nested in `error`, which may also be plain text."""
    if 300 <= reply.status < 400:
        return ErrorBody(message="a redirect, which is never followed; check the account's base URL")
    try:
        body = read_json(reply.body)
    except UnreadableError as fault:
        return ErrorBody(message=str(fault))
    if not isinstance(body, dict):
        return ErrorBody(message="an error that is not an object")
    nested = body.get("error")
    error = nested if isinstance(nested, dict) else {"message": nested, **body}
    data = error.get("data")
    hint = _object(error.get("availability")) or error
    return ErrorBody(
        code=_kind(error) or line_of(error.get("code")),
        message=line_of(error.get("message")),
        action_url=_web_address(data.get("action_url") if isinstance(data, dict) else None),
        retryable=hint["retryable"] if isinstance(hint.get("retryable"), bool) else None,
        after_seconds=_wait_in(hint),
    )


def _kind(error: Mapping[str, Any]) -> str | None:
    """Return OpenRouter's own word, which stands in `metadata` or beside it, where `code` repeats the HTTP status."""
    metadata = _object(error.get("metadata"))
    if "reasons" in metadata or "flagged_input" in metadata:
        return "moderation"
    return line_of(metadata.get("error_type")) or line_of(error.get("error_type"))


def _wait_in(hint: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait that a body names: OpenRouter's `retry_after`, PostEverywhere's `retryAfter`."""
    given = (hint.get("retry_after"), hint.get("retryAfter"), _object(hint.get("details")).get("retryAfter"))
    return next((seconds for seconds in map(_seconds, given) if seconds is not None), None)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value < _EPOCH_FROM:
        return None
    return min(float(value), LONGEST_WAIT_SECONDS)


def line_of(value: Any) -> str | None:
    """Return text or a number as one printable line of a message's length; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return _UNPRINTABLE.sub(" ", str(value)).strip()[:_MESSAGE_CHARS] or None


def _web_address(value: Any) -> str | None:
    line = line_of(value)
    try:
        return line if line and urlsplit(line).scheme in {"http", "https"} else None
    except ValueError:
        return None
