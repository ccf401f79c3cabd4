"""Sliding windows: how many requests fit into any stretch of time, and how a provider's headers say so."""

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class SimulatedWindow:
    """At most ``limit`` requests in any ``seconds``, which are real ones; ``recent`` holds their Unix times."""

    name: str
    limit: int
    seconds: float
    recent: deque[float] = field(default_factory=deque)

    def remaining(self, now: float) -> int:
        """Return how many requests still fit at the Unix time ``now``."""
        while self.recent and self.recent[0] <= now - self.seconds:
            self.recent.popleft()
        return max(0, self.limit - len(self.recent))

    def ends(self, now: float) -> float:
        """Return the Unix time at which the oldest request leaves the window."""
        return (self.recent[0] if self.recent else now) + self.seconds


def rate_headers(window: SimulatedWindow, now: float, reset: str, skew: float) -> dict[str, str]:
    """Return the three ``X-RateLimit-*`` headers; ``reset``: "epoch", "milliseconds" (both Unix) or "seconds" left.

    ``skew`` is how many real seconds the provider's clock is ahead of true time.
    """
    ends = window.ends(now)
    stated = ends + skew
    moment = {"epoch": stated, "milliseconds": stated * 1000, "seconds": ends - now}[reset]
    return {
        "x-ratelimit-limit": str(window.limit),
        "x-ratelimit-remaining": str(window.remaining(now)),
        "x-ratelimit-reset": str(math.ceil(moment)),
    }


def retry_after(window: SimulatedWindow, now: float) -> str:
    """Return ``Retry-After`` in whole seconds, at least 1."""
    return str(max(1, math.ceil(window.ends(now) - now)))
