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
_BUYS: Final = "this buys jobs, and needs the scope jobs:write or money:spend"


@dataclass(frozen=True, slots=True)
class Purchases:
    """The jobs of a plan that are bought for the `first` time, and those that may be bought `again`."""

    first: tuple[Target, ...] = ()
    again: tuple[Target, ...] = ()

    @property
    def are_any(self) -> bool:
        """Whether something is bought."""
        return bool(self.first or self.again)

    @property
    def scopes(self) -> frozenset[Scope]:
        """The scopes of which a caller needs one; empty for what is free."""
        if self.again:
            return _SPENDERS
        return BUYERS if self.first else frozenset()

    @property
    def lacking(self) -> str:
        """What to tell whoever has none of `scopes`."""
        return _PAYS_TWICE if self.again else _BUYS


NOTHING: Final = Purchases()


def of_retry(targets: Iterable[Target]) -> Purchases:
    """Return what a retry of these jobs buys."""
    every = tuple(targets)
    first, again = (tuple(one for one in every if one.act == act) for act in (BUY, BUY_AGAIN))
    return Purchases(first, again)


def of_resolve(wanted: Resolve) -> Purchases:
    """Return what a decision about held jobs buys."""
    return Purchases(again=wanted.plan.targets if wanted.resend else ())
