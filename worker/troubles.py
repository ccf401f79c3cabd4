"""What is wrong around this worker, in the servers' own words. The dispatcher writes it to the database."""

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from shared.log import redact

BUCKET: Final = "bucket"
BROKER: Final = "broker"
DISK: Final = "disk"
CLOCK: Final = "clock"
LASTS_SECONDS: Final = 600.0
"""A trouble that nobody met again for longer than the longest wait between two tries counts as over."""
REPEAT_SECONDS: Final = 10.0
_CHARS: Final = 300


class _Said(NamedTuple):
    words: str
    met_at: float


class Troubles:
    """The troubles of one process, by kind. Any thread may note one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._met: dict[str, _Said] = {}
        self._written: dict[str, str] = {}
        self._written_at = float("-inf")

    def note(self, kind: str, words: str) -> None:
        """Record that `kind` of trouble was met."""
        with self._lock:
            self._met[kind] = _Said(redact(" ".join(words.split()))[:_CHARS], self._clock())

    def over(self, kind: str) -> None:
        """Record that the same thing went well."""
        with self._lock:
            self._met.pop(kind, None)

    def present(self) -> dict[str, str]:
        """Return kind -> words of what is wrong now."""
        with self._lock:
            oldest = self._clock() - LASTS_SECONDS
            return {kind: said.words for kind, said in self._met.items() if said.met_at > oldest}

    def news(self) -> dict[str, str] | None:
        """Return what is to be written now; None if nothing has changed and nothing has to be repeated."""
        present, now = self.present(), self._clock()
        old = now - self._written_at > REPEAT_SECONDS
        return present if present != self._written or (present and old) else None

    def written(self, said: dict[str, str]) -> None:
        """Record that the database has it."""
        self._written, self._written_at = said, self._clock()
