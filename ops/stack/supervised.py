"""A child that is started again when it ends: how long to wait first, and what to say about it."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ops.stack.errors import StackError
from ops.stack.process import ServerProcess

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
MOST_DOUBLINGS = 10
# A child that ran this long did not fail at its start: the next wait is short again.
STEADY_SECONDS = 60.0


@dataclass(frozen=True)
class Ended:
    """A child that ended although nobody asked it to; ``status`` is negative for a signal."""

    name: str
    status: int
    log: Path
    restart_in_seconds: float

    def __str__(self) -> str:
        how = f"exit status {self.status}"
        if self.status < 0:
            how = f"killed by {signal.Signals(-self.status).name}"
        again = f"starting again in {self.restart_in_seconds:g} s"
        return f"{self.name} ended unexpectedly ({how}), {again}; see {self.log}"


@dataclass(frozen=True)
class Back:
    """A child that ended and runs again; a service answers by then."""

    name: str
    away_seconds: float

    def __str__(self) -> str:
        return f"{self.name} is back after {self.away_seconds:.1f} s"


@dataclass
class Supervised:
    """A child with what it takes to stop it and to start it again."""

    launch: Callable[[], ServerProcess]
    stop_signal: int
    stop_seconds: float
    process: ServerProcess = field(init=False)
    restart_at: float | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start it, the first time or again. Raises StackError."""
        self.process = self.launch()
        self.restart_at = None

    def stop(self) -> None:
        """Ask it to end, wait, and kill it when the time is over."""
        self.process.stop(self.stop_signal, self.stop_seconds)

    def tend(self) -> Ended | None:
        """Look once: start it if that is due; return its end if that is news. Never waits."""
        now = time.monotonic()
        if self.restart_at is None:
            status = self.process.poll()
            return None if status is None else self._ended(status, now)
        if now >= self.restart_at:
            try:
                self.start()
            except StackError:
                # A full disk or a server still shutting down: no reason to give up the other children.
                return self._ended(self.process.poll() or 0, now)
        return None

    def _ended(self, status: int, now: float) -> Ended:
        steady = now - self.process.started > STEADY_SECONDS and self.restart_at is None
        self._failures = 1 if steady else self._failures + 1
        doublings = min(self._failures - 1, MOST_DOUBLINGS)
        backoff = min(FIRST_BACKOFF_SECONDS * 2.0**doublings, LONGEST_BACKOFF_SECONDS)
        self.restart_at = now + backoff
        return Ended(self.process.name, status, self.process.log, backoff)
