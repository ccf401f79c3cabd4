"""From HTTP status and a provider's own code to our code, whether it was bought, and when to try again."""

import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.lifecycle import Outcome
from worker.paid_post import Lost, NotSent, Reply
from worker.providers.contract import Again, Refused, UnreadableError, read_json

_MESSAGE_CHARS: Final = 500
_EPOCH_FROM: Final = 1_000_000_000  # a rate-limit reset beyond it is a moment, below it seconds left


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a provider's error table; `upstream` None matches every code of that status."""

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


def refused(reply: Reply, table: Sequence[Row], read: Callable[[Any], ErrorBody]) -> Refused:
    """Classify an error answer; what no row of the table names may have been bought."""
    body = _error_body(reply, read)
    row = next((row for row in table if row.status == reply.status and row.upstream in {None, body.code}), None)
    row = row or Row(reply.status, None, "provider_error", Outcome.UNKNOWN, Again.NEVER)
    named = f" {body.code}" if body.code else ""
    return Refused(
        outcome=row.outcome,
        again=row.again,
        code=row.code,
        message=f"HTTP {reply.status}{named}: {body.message or 'no message'}"[:_MESSAGE_CHARS],
        http_status=reply.status,
        after_seconds=retry_after(reply.headers),
        action_url=body.action_url,
    )


def without_answer(result: NotSent | Lost) -> Refused:
    """Say what a call that brought no whole answer means."""
    if isinstance(result, NotSent):
        return Refused(Outcome.NOT_SENT, Again.AFTER, "provider_unreachable", result.reason)
    code = "answer_lost" if result.status is None else "answer_unreadable"
    return Refused(Outcome.UNKNOWN, Again.NEVER, code, result.reason, http_status=result.status)


def unreadable(reply: Reply, error: UnreadableError) -> Refused:
    """Say what a success that cannot be read means: it may well have been bought."""
    message = f"HTTP {reply.status}, but {error}"
    return Refused(Outcome.UNKNOWN, Again.NEVER, "answer_unreadable", message, http_status=reply.status)


def retry_after(headers: Mapping[str, str], *, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds a provider asks to wait: Retry-After as seconds or date (RFC 9110), else X-RateLimit-Reset."""
    if given := headers.get("retry-after"):
        if given.strip().isdigit():
            return float(given)
        try:
            moment = email.utils.parsedate_to_datetime(given)
        except ValueError:
            return None
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now())
    if headers.get("x-ratelimit-remaining", "").strip() == "0":
        reset = headers.get("x-ratelimit-reset", "").strip()
        if reset.isdigit():
            return max(0.0, float(reset) - now()) if int(reset) > _EPOCH_FROM else float(reset)
    return None


def moment(text: Any) -> datetime:
    """Read an ISO 8601 time; raises `UnreadableError`."""
    try:
        read = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise UnreadableError("a time that is not ISO 8601") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _error_body(reply: Reply, read: Callable[[Any], ErrorBody]) -> ErrorBody:
    try:
        return read(read_json(reply.body))
    except UnreadableError as error:
        return ErrorBody(message=str(error))
