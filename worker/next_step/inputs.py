"""The inputs that decisions use, and the two results that are not a move."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from shared.backoff import delay
from shared.moves import Claim
from shared.settings import Settings
from worker.next_step.learned import LearnedTime
from worker.providers.contract import FindBy


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """The part of a worker's settings and of its account's provider that decisions use. Times are in seconds."""

    settings: Settings
    random: Random
    title: str
    """The provider's name for people."""
    key_id: str
    """The id of the key that the account has now."""
    find_by: FindBy
    can_look: bool
    """Whether the provider can be asked for an image later."""
    inline: bool
    """Whether answers carry their images: a late answer then arrives in our own bucket."""
    slack_seconds: float
    """How far the provider's clock may differ from ours."""
    transfer_lease: float
    times: Mapping[str, LearnedTime] = field(default_factory=dict)
    """What is known of how long the account's models take, by model; the model without a name is empty."""
    clock: Callable[[], float] = time.time
    """The time in seconds since 1970: long waits end with a full second of it."""

    @property
    def recheck_seconds(self) -> float:
        """Until the next look at a held job: sooner if its answer may still arrive in our own bucket."""
        settings = self.settings
        return (
            min(settings.sweep_seconds, settings.held_recheck_seconds) if self.inline else settings.held_recheck_seconds
        )

    def backoff(self, tries: int) -> float:
        """Return the seconds until a retry after `tries` failures."""
        first, most = self.settings.retry_first_seconds, self.settings.retry_max_seconds
        return delay(tries, first_seconds=first, max_seconds=most, random=self.random)


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Nothing is decided: the job stays as it is, and a worker looks again after `seconds`."""

    claim: Claim
    seconds: float


@dataclass(frozen=True, slots=True)
class CopyWait:
    """An image waits to be copied: its job is due again after `seconds`, for the reason in `code` and `note`."""

    seconds: float
    code: str
    note: str
    tries: int
