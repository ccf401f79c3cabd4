"""What is done to a run, and when: drawn from one seed before anything starts."""

from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Final

from tests.chaos.points import CASES

WORKERS: Final = ("worker-1", "worker-2", "worker-3")
_EARLIEST, _LATEST = 0.01, 0.96
_SIGNAL_SHARE: Final = 0.6  # of the crashes; the others happen in a named gap
_CASES_SETTLE: Final = 200  # jobs: below this a run has time for one outage of each kind


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that is done once `at` (a share of the jobs) have settled; `seconds` is how long it lasts."""

    at: float
    kind: str
    target: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"at {self.at:6.1%} {self.kind} {self.target}{lasting}".rstrip()


def draw(seed: int, jobs: int, crashes: int) -> list[Action]:
    """Return the actions in their order: `crashes` deaths of workers, and outages of everything around them."""
    random = Random(seed)
    outages = 1 if jobs < _CASES_SETTLE else 2
    spread = max(1, crashes // 15)

    def moment() -> float:
        return random.uniform(_EARLIEST, _LATEST)

    def some(count: int, kind: str, shortest: float = 0.0, longest: float = 0.0) -> list[Action]:
        return [Action(moment(), kind, "", random.uniform(shortest, longest)) for _ in range(count)]

    signals = round(crashes * _SIGNAL_SHARE)
    victims = cycle(WORKERS)  # in turn: who has just died holds nothing
    cases = [random.choice(CASES) for _ in range(crashes - signals)]
    actions = [
        *(Action(moment(), "kill", next(victims)) for _ in range(signals)),
        *(Action(moment(), "crash", ".".join(case)) for case in cases),
        # A submit's lease is seven seconds: some sleep through it.
        *(Action(moment(), "stop", random.choice(WORKERS), random.uniform(1, 12)) for _ in range(2 * spread)),
        *(Action(moment(), "terminate", random.choice(WORKERS)) for _ in range(spread)),
        *some(outages, "redis wiped"),
        *some(outages, "redis flushed"),
        *some(outages, "redis restarted"),
        *some(outages, "postgres killed"),
        *some(outages - 1, "postgres restarted"),
        *some(spread, "bucket refuses", 1, 6),
        *some(spread, "bucket full", 1, 6),
        *some(spread, "bucket slow", 1, 6),
        *some(2 * spread, "network cut"),
        *some(spread, "network stalled", 1, 8),
        *some(2 * spread, "messages doubled"),
        *some(2 * spread, "cancel"),
    ]
    return sorted(actions, key=lambda action: action.at)
