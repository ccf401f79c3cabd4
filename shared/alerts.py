"""Which problems are told, and when: at their beginning, now and then while they last, and at their end. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from shared.problems import Problem

AGAIN_SECONDS: Final = 4 * 3600.0
"""A problem that lasts is told again after this time."""
_PATIENCE: Final = {"held": 4 * 3600.0, "worker_silent": 60.0, "bucket": 30.0, "broker": 30.0, "disk": 30.0}
"""Seconds that a problem must last before it is told; 0 for the others."""
_ABSENT_SECONDS: Final = 60.0  # a problem that comes and goes is one problem


class Alert(NamedTuple):
    """One thing to tell: a problem that began, that lasts, or that is over."""

    state: Literal["began", "lasts", "over"]
    problem: Problem


@dataclass(slots=True)
class _Known:
    problem: Problem
    first_at: float
    seen_at: float
    told_at: float | None = None


class Alerts:
    """Remembers what was told. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Known] = {}

    def next(self, found: Iterable[Problem], now: float) -> Iterator[Alert]:
        """Yield what is to be told now, given the problems that are there now."""
        for problem in found:
            key = (problem.code, problem.subject)
            known = self._known.setdefault(key, _Known(problem, now, now))
            known.problem, known.seen_at = problem, now
        for key, known in list(self._known.items()):
            if now - known.seen_at > _ABSENT_SECONDS:
                del self._known[key]
                if known.told_at is not None:
                    yield Alert("over", known.problem)
            elif (state := _due(known, now)) is not None:
                known.told_at = now
                yield Alert(state, known.problem)


def _due(known: _Known, now: float) -> Literal["began", "lasts"] | None:
    if known.told_at is not None:
        return "lasts" if now - known.told_at > AGAIN_SECONDS else None
    return "began" if now - known.first_at >= _PATIENCE.get(known.problem.code, 0.0) else None
