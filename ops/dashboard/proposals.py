"""What a person may do on the pages. Each act is proposed first: what it does, what it may cost, and its command."""

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from producer.cli.preview import money as worst_words
from producer.client.purchases import NOTHING, Purchases
from producer.money import amount_in
from shared.db.jobs import bulk
from shared.db.jobs.bulk import SecondCharge, Target
from shared.db.jobs.retry import ASK, BUY, BUY_AGAIN, FETCH

_WHAT: Final = {
    "resend": "sent again",
    "give_up": "given up",
    "settle": "settled",
    ASK: "collected again, free",
    FETCH: "collected again, free",
    BUY: "bought for the first time",
    BUY_AGAIN: "bought again, perhaps twice",
    "cancel": "cancelled",
}
_DONE: Final = {"queued": "in line again", "failed": "given up", "followed": "followed to the end of their purchase",
                "busy": "in a worker's hands: try again"}  # fmt: skip


class WrongFormError(ValueError):
    """What was asked for makes no sense; the message says why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The fields of a form: an act, and what it is about. `may_buy`: whether the person may have jobs bought.

    `sees_money`: whether the person may read amounts.
    """

    fields: Mapping[str, str]
    may_buy: bool = True
    sees_money: bool = True

    def text(self, name: str) -> str | None:
        """Return a field, None if it is missing or empty."""
        return self.fields.get(name, "").strip() or None

    def need(self, name: str) -> str:
        """Return a field that must be there; raises `WrongFormError`."""
        found = self.text(name)
        if found is None:
            raise WrongFormError(f"{name} is missing")
        return found

    @property
    def job(self) -> UUID | None:
        """The job, if one is named; raises `WrongFormError`."""
        try:
            return UUID(found) if (found := self.text("job")) else None
        except ValueError:
            raise WrongFormError("this is no job's id") from None

    @property
    def jobs(self) -> dict[str, str]:
        """The selection of jobs as keywords of a plan, without the job."""
        return {name: found for name in ("batch", "account", "code") if (found := self.text(name))}

    @property
    def charged(self) -> Decimal | None:
        """What the lost calls cost, None if nobody knows; raises `WrongFormError`."""
        found = self.text("charged")
        amount = amount_in(found) if found else None
        if found and amount is None:
            raise WrongFormError(f"{found[:40]!r} is not an amount such as 0.035")
        return amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An act before it is done. `do` carries out exactly this and returns what was done, in words."""

    title: str
    button: str
    command: tuple[str, ...]
    do: Callable[[], str]
    says: Sequence[str] = ()
    targets: Sequence[Target] = ()
    act: str = ""
    at: datetime | None = None
    worst: SecondCharge | None = None
    """The most that it can pay a second time; None if it cannot."""
    purchases: Purchases = NOTHING
    """What of it is bought: it decides which right it needs, and counts against the cap of the person's token."""
    may_cost: bool = False
    """Whether it can cause a payment; the person must say yes a second time."""
    asks: Sequence[str] = ()
    """Fields that a person may still fill in: `charged`, `amount`, `reason`."""
    nothing: str = ""
    """Why there is nothing to do; "" if there is."""

    @property
    def token(self) -> str:
        """A word for exactly this act on exactly these jobs; "" for an act that is not about jobs."""
        return bulk.token(self.act, self.targets, self.at) if self.at else ""

    @property
    def groups(self) -> list[tuple[str, str, str, int]]:
        """Account, reason, what happens, and the number of jobs."""
        numbers = Counter((one.account, one.reason, _WHAT.get(one.act, one.act)) for one in self.targets)
        return [(*key, jobs) for key, jobs in sorted(numbers.items())]

    @property
    def worst_words(self) -> str:
        """The worst second charge in words."""
        return worst_words(self.worst) if self.worst else "nothing"

    @property
    def shell(self) -> str:
        """The command that does the same."""
        return shlex.join(("genqueue", *self.command))


def command(name: str, wish: Wish, *options: str) -> tuple[str, ...]:
    """Return the command on the jobs that a wish names."""
    named = {"batch": "--batch", "account": "--account", "code": "--error-code"}
    given = [part for key, value in wish.jobs.items() for part in (named[key], value)]
    return (name, *given, *options, *([str(wish.job)] if wish.job else []))


def counted(jobs: Mapping[str, int], moved_on: int) -> str:
    """Say how many jobs were changed, and how many were left alone because they had changed meanwhile."""
    said = [f"{n:,} {_DONE.get(name, name)}" for name, n in sorted(jobs.items()) if n]
    said += [f"{moved_on:,} had changed meanwhile and were left alone"] if moved_on else []
    return "; ".join(said) or "nothing was changed"
