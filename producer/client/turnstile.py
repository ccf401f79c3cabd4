"""Lets threads use a few places in the order in which they came."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class PlaceTimeoutError(Exception):
    """No place became free in time."""


class Turnstile:
    """So many places, each for one thread at a time. A thread that has one needs no other.

    A lock, or a pool, may give what becomes free to whoever asks next. A thread that has waited then waits again, for
    seconds where many ask.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[threading.Event] = deque()
        self._guard = threading.Lock()
        self._own = threading.local()

    @contextmanager
    def place(self, seconds: float) -> Iterator[None]:
        """Have a place; raises `PlaceTimeoutError` where none becomes free within `seconds`."""
        if getattr(self._own, "has_one", False):
            yield
            return
        mine = self._join()
        if mine is not None and not mine.wait(seconds) and self._withdraw(mine):
            raise PlaceTimeoutError(f"no place became free within {seconds:g} seconds")
        self._own.has_one = True
        try:
            yield
        finally:
            self._own.has_one = False
            self._leave()

    def _join(self) -> threading.Event | None:
        """Take a place, or join the line: the event that is returned comes when a place does."""
        with self._guard:
            if self._free:
                self._free -= 1
                return None
            mine = threading.Event()
            self._waiting.append(mine)
            return mine

    def _withdraw(self, mine: threading.Event) -> bool:
        """Leave the line; False if the place came at that very moment."""
        with self._guard:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
            return True

    def _leave(self) -> None:
        """Give the place to who has waited longest."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
