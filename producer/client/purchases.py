"""What a plan of jobs would buy: the scopes for it, and what counts against a token's cap, the same at every door."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from producer.client.bulk import Resolve
from shared.db.jobs.bulk import Target
from shared.db.jobs.retry import BUY, BUY_AGAIN
from shared.tokens import Scope

BUYERS: Final = frozenset({Scope.JOBS_WRITE, Scope.MONEY_SPEND})
"""Scopes of which one is enough to have a job bought for the first time."""
_SPENDERS: Final = frozenset({Scope.MONEY_SPEND})
_PAYS_TWICE: Final = "this may pay twice, and needs the scope money:spend"
_CLEARS: Final = (
    "a charge of 0 says that the lost call bought nothing: then a retry buys the job as if for the first time, so this "
    "needs the scope money:spend; leave out what was charged, or have somebody with that scope say it"
)
_BUYS: Final = "this buys jobs, and needs the scope jobs:write or money:spend"


@dataclass(frozen=True, slots=True)
class Purchases:
    """The jobs of a plan that are bought for the `first` time, and those that may be bought `again`.

    `clears`: a person says that lost calls bought nothing. What is said so wrongly is paid for twice by a later retry.
    """

    first: tuple[Target, ...] = ()
    again: tuple[Target, ...] = ()
    clears: bool = False

    @property
    def are_any(self) -> bool:
        """Whether something is bought."""
        return bool(self.first or self.again)

    @property
    def scopes(self) -> frozenset[Scope]:
        """The scopes of which a caller needs one; empty for what is free."""
        if self.again or self.clears:
            return _SPENDERS
        return BUYERS if self.first else frozenset()

    @property
    def lacking(self) -> str:
        """What to tell whoever has none of `scopes`."""
        if self.again:
            return _PAYS_TWICE
        return _CLEARS if self.clears else _BUYS


NOTHING: Final = Purchases()


def of_retry(targets: Iterable[Target]) -> Purchases:
    """Return what a retry of these jobs buys."""
    every = tuple(targets)
    first, again = (tuple(one for one in every if one.act == act) for act in (BUY, BUY_AGAIN))
    return Purchases(first, again)


def of_resolve(wanted: Resolve) -> Purchases:
    """Return what a decision about held jobs buys, and what it lets a retry buy."""
    targets = wanted.plan.targets
    if wanted.resend:
        return Purchases(again=targets)
    return Purchases(clears=bool(targets) and wanted.charged == 0)
