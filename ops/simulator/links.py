"""Signed links: a path, the second it dies at, and an HMAC over both."""

import hashlib
import hmac
import math
from collections.abc import Mapping
from enum import Enum

from ops.simulator.clock import SimulatedClock


class LinkState(Enum):
    """What a link is worth when it arrives."""

    good = "good"
    expired = "expired"
    forged = "forged"


class Signer:
    """Mints and checks ``path?exp=<unix seconds>&sig=<hex>``. Expiries have a grain of one real second.

    ``skew`` is how many real seconds the clock of who mints and checks is ahead of true time.
    """

    def __init__(self, seed: int, clock: SimulatedClock) -> None:
        self._secret = hashlib.sha256(f"simulator links {seed}".encode()).digest()
        self._clock = clock

    def expiry(self, simulated_seconds: float, skew: float = 0.0) -> int:
        """Return the Unix second, rounded up, at which a link minted now dies."""
        return math.ceil(self._clock.after(simulated_seconds) + skew)

    def at_once(self, skew: float = 0.0) -> int:
        """Return an expiry that has already passed."""
        return math.floor(self._clock.now() + skew)

    def sign(self, path: str, expires: int) -> str:
        """Return ``path`` with its expiry and signature."""
        return f"{path}?exp={expires}&sig={self._mac(path, str(expires))}"

    def check(self, path: str, query: Mapping[str, str], skew: float = 0.0) -> LinkState:
        """Say whether the link is as minted and still alive."""
        expires, signature = query.get("exp", ""), query.get("sig", "")
        if not hmac.compare_digest(self._mac(path, expires).encode(), signature.encode()):
            return LinkState.forged
        return LinkState.expired if self._clock.now() + skew >= int(expires) else LinkState.good

    def _mac(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
