"""Whether a request is sent again, after how long, and until when a wait goes on; shared by both clients."""

from __future__ import annotations

import email.utils
import random
import time

import httpx

from genqueue_client.errors import NotEndedError, UnreachableError

LONGEST_WAIT = 55
"""Seconds that one request lets the API wait; it allows 60."""
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_SECONDS = 0.2
_MOST_SECONDS = 20.0
_LONGEST_RETRY_AFTER = 60.0


class Tries:
    """The tries of one request, `most` of them. Every request may be sent again: see `calls.Call`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made = 0

    def answered(self, response: httpx.Response) -> float | None:
        """Return the seconds until the next try; None if the answer is final, or that of the last try."""
        seconds = pause(self._made + 1, response)
        if seconds is None or self._made + 1 >= self._most:
            return None
        self._made += 1
        return seconds

    def lost(self, error: httpx.TransportError) -> float:
        """Return the seconds until the next try after a lost connection; raises `UnreachableError` after the last."""
        self._made += 1
        if self._made >= self._most:
            raise UnreachableError(f"no whole answer after {self._made} tries: {type(error).__name__}") from error
        return pause(self._made, None) or 0.0

    def begin_anew(self) -> None:
        """Count from the beginning: what is read comes on."""
        self._made = 0


class Patience:
    """A wait of `seconds` for a job or batch, in requests that the API may hold open for a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, waited_for: object) -> float:
        """Return the seconds that the next request may wait; raises `NotEndedError` if none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise NotEndedError(f"{waited_for!r} has not ended within {self._seconds:g} s")
        return min(left, LONGEST_WAIT)


def pause(tries: int, response: httpx.Response | None) -> float | None:
    """Return the seconds until the next try after `tries` tries, None if an answer is final.

    Without an answer the connection was lost.
    """
    if response is not None and response.status_code not in _AGAIN:
        return None
    grown = min(_FIRST_SECONDS * 2.0 ** (tries - 1), _MOST_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311 - a wait
    asked = retry_after(response.headers.get("retry-after")) if response is not None else 0.0
    return max(grown, asked)


def retry_after(value: str | None) -> float:
    """Return the seconds of a Retry-After, a number or a date, at most a minute; 0 if there is none."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return min(float(value), _LONGEST_RETRY_AFTER)
    try:
        seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
