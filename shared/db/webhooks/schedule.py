"""When a delivery is sent again, and when an endpoint that fails is probed and switched off."""

from datetime import timedelta
from random import Random
from typing import Final

SCHEDULE: Final = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before each of the ten tries, from the try before: 75.6 hours in all. Source: the Standard Webhooks spec."""
JITTER: Final = 0.2
"""The share by which each wait is made longer or shorter by chance, so that failed deliveries do not come together."""
DISABLE_AFTER: Final = timedelta(days=5)
"""An endpoint that failed for this long, with no success, is switched off."""
FAILURES_BEFORE_PROBES: Final = 10
"""After this many failures in a row, one delivery at a time probes the endpoint; the others wait, unspent."""
PROBE_FIRST_SECONDS: Final = 30.0
PROBE_MAX_SECONDS: Final = 3600.0


def wait_before(tries: int, *, random: Random, schedule: tuple[float, ...] = SCHEDULE) -> float | None:
    """Return the seconds until the next try after `tries` tries, with jitter; None if there is none."""
    if tries >= len(schedule):
        return None
    return schedule[tries] * random.uniform(1 - JITTER, 1 + JITTER)
