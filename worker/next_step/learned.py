"""How long an account's model takes, learned from earlier jobs: when a look is likely to find the images."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

_LEAST_SPANS: Final = 8
"""So many jobs must have come before what they say is used."""
_LIKELY: Final = 0.35
"""The share of the jobs that are still open which the next look should find ready."""
_EARLIEST: Final = 0.95
"""While so large a share is still open, no look is worth its request."""
LEAST_SECONDS: Final = 0.5
"""The least wait between two looks: more requests would hardly bring an image sooner."""
_OVERDUE_SHARE: Final = 0.15
"""A job that outlasts all known ones is asked for again after this share of its age."""
_INSTANT: Final = 0.001

Span = tuple[float, float]
"""Seconds from the purchase: the last look that found a job open, and the first that found it ready."""


class LearnedTime:
    """The spans of an account's last jobs of one model: each job was ready at some moment inside its span.

    Inside a span, each moment is as likely. So the share of jobs that are still open falls in straight lines from 1 to
    0, from one end of a span to the next.
    """

    __slots__ = ("_ages", "_open", "_spans")

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = len(spans)
        changes = [change for span in spans for change in _changes(span, len(spans))]
        self._ages: list[float] = [0.0]
        self._open: list[float] = [1.0]
        fall = 0.0
        for age, change in sorted(changes):
            self._open.append(max(self._open[-1] - fall * (age - self._ages[-1]), 0.0))
            self._ages.append(age)
            fall += change

    def until_likely(self, age: float, *, at_most: float) -> float | None:
        """Return the seconds until a job bought `age` seconds ago is likely to be ready; None where too few are known.

        Once the first jobs of its kind were ready, a wait is at most `at_most` seconds. No wait is longer than half of
        the usual time, so that a provider that became faster is noticed.
        """
        if self._spans < _LEAST_SPANS:
            return None
        still_open = self._open_at(age)
        if still_open * self._spans < 1:
            return max(min(age * _OVERDUE_SHARE, at_most), LEAST_SECONDS)
        likely = self._age_when_open(still_open * (1 - _LIKELY)) - age
        first = self._age_when_open(_EARLIEST) - age
        wait = min(likely, max(first, at_most), self._age_when_open(0.5) / 2)
        return max(wait, LEAST_SECONDS)

    def _open_at(self, age: float) -> float:
        """Return the share of jobs that are still open at `age`."""
        after = bisect_right(self._ages, age)
        if after == len(self._ages):
            return 0.0
        sooner, later = self._ages[after - 1], self._ages[after]
        part = (age - sooner) / (later - sooner)
        return self._open[after - 1] + (self._open[after] - self._open[after - 1]) * part

    def _age_when_open(self, share: float) -> float:
        """Return the age at which only `share` is still open."""
        after = min(bisect_left(self._open, -share, key=lambda value: -value), len(self._open) - 1)
        before = max(after - 1, 0)
        fall = self._open[before] - self._open[after]
        part = (self._open[before] - share) / fall if fall > 0 else 1.0
        return self._ages[before] + (self._ages[after] - self._ages[before]) * min(part, 1.0)


def _changes(span: Span, count: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where the share of open jobs begins to fall faster because of `span`, and where no longer."""
    sooner, later = span
    later = max(later, sooner + _INSTANT)
    fall = 1 / (later - sooner) / count
    return (sooner, fall), (later, -fall)
