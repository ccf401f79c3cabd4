"""What a look at a lost call can find: what it bought, that it bought nothing, or why that is not settled."""

from dataclasses import dataclass, field
from typing import Final

from worker.providers.contract import Listed


@dataclass(frozen=True, slots=True)
class Adopt:
    """The lost call bought exactly these images.

    `additional` also carry its reference, but exceed the number of images that it asked for.
    """

    upstream_ids: tuple[str, ...]
    additional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotBought:
    """The provider's list or figures would have shown a purchase of this call, and show none."""

    note: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The reading does not settle the call: a person must. `candidates`: the rows that may be this call's."""

    note: str
    candidates: tuple[Listed, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Lacking:
    """The reading shows nothing of the call, and lacks a purchase of ours that would make it a proof.

    `to_be_made`: only a purchase that is still to be made can do that; none that was made already may show later.
    """

    note: str
    to_be_made: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """Another call may still claim what the list shows. Look again in `seconds`."""

    seconds: float


NOT_LISTED: Final = NotBought(
    "nothing was bought: the provider's list shows later purchases of ours, and none by this call"
)
Judgement = Adopt | NotBought | Unclear | Lacking | Later
