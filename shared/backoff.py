"""How long to wait before looking again: pure functions of the count and a source of randomness."""

from random import Random
from typing import Final

LONGEST_WAIT_SECONDS: Final = 86_400.0
"""The longest wait that a server may impose; without it, a header could stop work forever."""


def delay(tries: int, *, first_seconds: float, max_seconds: float, random: Random, jitter: float = 0.2) -> float:
    """Return the seconds to wait after `tries` looks: doubling every second try up to `max_seconds`.

    A random part of it, up to the share `jitter`, is taken off, so that those who began to wait together do not always
    ask together. The wait never exceeds the cap.
    """
    grown: float = min(first_seconds * 2.0 ** (min(tries, 60) / 2), max_seconds)
    return grown * random.uniform(1 - jitter, 1.0)
