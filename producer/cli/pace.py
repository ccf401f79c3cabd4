"""How fast a batch goes, and how long the rest will take at that pace."""

from collections import deque
from typing import Final, NamedTuple

_SPAN_SECONDS: Final = 120.0
"""The pace is that of the last two minutes."""
_LEAST_SECONDS: Final = 3.0
_LEAST_DONE: Final = 3


class _Mark(NamedTuple):
    at: float
    done: int


class Pace:
    """Marks of how many jobs had ended when; times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()

    def mark(self, at: float, done: int) -> None:
        """Note how many jobs have ended by now."""
        self._marks.append(_Mark(at, done))
        while self._marks[-1].at - self._marks[0].at > _SPAN_SECONDS:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """Jobs that end per second; None while too little has been seen."""
        if len(self._marks) < 2:  # noqa: PLR2004 - two marks make a pace
            return None
        seconds, done = self._marks[-1].at - self._marks[0].at, self._marks[-1].done - self._marks[0].done
        return done / seconds if seconds >= _LEAST_SECONDS and done >= _LEAST_DONE else None

    def seconds_left(self, jobs: int) -> float | None:
        """Return how long `jobs` take at this pace; None while it is unknown."""
        pace = self.per_second
        return jobs / pace if pace else None
