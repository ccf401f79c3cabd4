"""What is done to a run, and when: drawn from one seed before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Any, Final

from shared import catalog
from tests.chaos.ground import TIME_SCALE
from tests.chaos.points import CASES

WORKERS: Final = ("worker-1", "worker-2", "worker-3")
_EARLIEST, _LATEST = 0.01, 0.96
_SIGNAL_SHARE: Final = 0.6  # of the crashes; the others happen in a named gap
LISTING: Final = ("bloom", "banatie", "posteverywhere")
"""The providers whose lists are read; their rows have times."""
HOSTING: Final = (*LISTING, "getimg")
"""The providers whose images are downloaded."""
_ECHOES: Final = ("cut", "nfd", "typographic", "enhanced", "null", "absent")
_LIE_BEGINS: Final = (0.02, 0.6)
_LIE_LASTS: Final = (0.15, 0.35)
_CASES_SETTLE: Final = 200  # jobs: below this a run has time for one outage of each kind


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that is done once `at` (a share of the jobs) have settled; it lasts for `seconds`, or `until` a share.

    `settings` are those of the simulated provider that is its target.
    """

    at: float
    kind: str
    target: str = ""
    seconds: float = 0.0
    until: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else f" until {self.until:.1%}" if self.until else ""
        told = " ".join(f" {name}={value}" for name, value in self.settings.items())
        return f"at {self.at:6.1%} {self.kind} {self.target}{told}{lasting}".rstrip()


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
        *(
            Action(moment(), "image host away", random.choice(HOSTING), random.uniform(2, 10))
            for _ in range(outages + spread)
        ),
        *_lies(random),
    ]
    return sorted(actions, key=lambda action: action.at)


def _lies(random: Random) -> list[Action]:
    """Return what providers say wrongly of themselves, each for a part of the run."""

    def lie(kind: str, target: str, **settings: Any) -> Action:
        begins = random.uniform(*_LIE_BEGINS)
        return Action(begins, kind, target, until=begins + random.uniform(*_LIE_LASTS), settings=settings)

    def listing() -> str:
        return random.choice(LISTING)

    echoing = random.choice(("bloom", "banatie"))  # PostEverywhere's list has no prompts
    wrong = listing()
    return [
        lie("clock wrong", wrong, clock_seconds=_wrong_by(random, wrong)),
        lie("list unordered", listing(), list_order=random.choice(("oldest", "shuffled"))),
        lie("list in short pages", listing(), list_page_limit=random.randint(1, 5)),
        lie("list frozen", listing(), list_frozen=True),
        lie("list late", listing(), list_lag_seconds=round(random.uniform(0.5, 5), 1)),
        lie("prompts echoed otherwise", echoing, prompt_echo=random.choice(_ECHOES)),
        lie("strangers in the list", listing(), list_null_rows=random.randint(1, 3)),
        lie("404 after the purchase", listing(), get_lag_seconds=round(random.uniform(0.3, 3), 1)),
        lie("usage frozen", "openrouter", usage_frozen=True),
    ]


def _wrong_by(random: Random, provider: str) -> float:
    """Return real seconds: one seed stays within the quiet time after a call, another goes far beyond it."""
    quiet = catalog.get(provider).quiet_seconds / TIME_SCALE
    share = random.choice((random.uniform(0.2, 0.9), random.uniform(1.5, 6)))
    return round(random.choice((-1, 1)) * share * quiet, 1)
