"""The one clock of the simulator: every latency, window and expiry is divided by the time scale here."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime


class SimulatedClock:
    """Wall-clock time for the wire, and the length of a simulated second.

    ``scale`` simulated seconds pass in one real second. ``source`` returns Unix seconds.
    """

    def __init__(self, scale: float, source: Callable[[], float] = time.time) -> None:
        if scale <= 0:
            raise ValueError(f"time_scale is {scale}: it must be greater than 0")
        self.scale = scale
        self._source = source

    def now(self) -> float:
        """Return Unix time in real seconds."""
        return self._source()

    def real(self, simulated: float) -> float:
        """Return how many real seconds ``simulated`` seconds last."""
        return simulated / self.scale

    def after(self, simulated: float) -> float:
        """Return the Unix time at which ``simulated`` seconds will have passed."""
        return self.now() + self.real(simulated)

    async def sleep(self, simulated: float) -> None:
        """Wait for ``simulated`` seconds."""
        await asyncio.sleep(self.real(simulated))

    async def sleep_until(self, moment: float) -> None:
        """Wait until the Unix time ``moment``; return at once if it has passed."""
        await asyncio.sleep(max(0.0, moment - self.now()))


def iso(moment: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC with milliseconds, the form that JavaScript back ends write."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
