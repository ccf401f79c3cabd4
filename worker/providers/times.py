"""Times and waits as providers state them: in units that their documents leave open."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from worker.providers.contract import LONGEST_WAIT_SECONDS
from worker.providers.reading import UnreadableError
from worker.transport.download import retry_after_seconds

EPOCH_FROM: Final = 1_000_000_000  # a rate-limit reset beyond it is a moment, below it seconds left
_MILLISECONDS_FROM: Final = 100_000_000_000  # beyond it, a moment in milliseconds
_LONGEST_WINDOW_SECONDS: Final = 3600.0
_DOUBTFUL_SECONDS: Final = 60.0
_RESET: Final = ("x-ratelimit-reset", "x-ratelimit-reset-after", "x-rate-limit-reset", "ratelimit-reset")
_REMAINING: Final = ("x-ratelimit-remaining", "x-rate-limit-remaining", "ratelimit-remaining")
_SECONDS: Final = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,9})?")


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds a provider asks to wait: Retry-After as seconds or date (RFC 9110), else a limit's reset.

    At most a day. A number may also be a Unix time in seconds or milliseconds, because documents disagree or are
    silent. A reset counts unless requests remain.
    """
    now = now or datetime.now(UTC)
    wait = _asked(headers.get("retry-after", "").strip(), now)
    if wait is None and (given := _number(headers.get("retry-after-ms", ""))) is not None:
        wait = given / 1000
    if wait is None and all(headers.get(name, "0").strip() == "0" for name in _REMAINING):
        resets = (_reset(headers.get(name, "").strip(), now) for name in _RESET)
        wait = next((seconds for seconds in resets if seconds is not None), None)
    return None if wait is None else min(wait, LONGEST_WAIT_SECONDS)


def _asked(given: str, now: datetime) -> float | None:
    number = _number(given)
    return retry_after_seconds(given or None, now) if number is None else _left(number, now)


def _reset(given: str, now: datetime) -> float | None:
    """Return the seconds until a limit's reset; some write it as a date."""
    if (number := _number(given)) is not None:
        left = _left(number, now)
        return left if number > EPOCH_FROM else credible_wait(left)
    with suppress(UnreadableError):
        return max(0.0, (moment(given) - now).total_seconds())
    return None


def _number(given: str) -> float | None:
    return float(given) if _SECONDS.fullmatch(given.strip()) else None


def _left(number: float, now: datetime) -> float:
    """Return the seconds that are left: the number itself, or until the Unix time that it is."""
    if number <= EPOCH_FROM:
        return number
    return max(0.0, (number / 1000 if number > _MILLISECONDS_FROM else number) - now.timestamp())


def credible_wait(seconds: float) -> float:
    """Return a wait in a unit that no document names: one beyond the longest documented window is in milliseconds.

    It is a minute at least, so that a provider that means seconds after all is not hammered.
    """
    return seconds if seconds <= _LONGEST_WINDOW_SECONDS else max(seconds / 1000, _DOUBTFUL_SECONDS)


def moment(text: Any) -> datetime:
    """Read an ISO 8601 time, in UTC where it names no zone; raises `UnreadableError`."""
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableError("a time that is not ISO 8601") from None
