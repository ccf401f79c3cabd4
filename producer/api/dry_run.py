"""What a decision would do, shown before it is made; its confirmation stands for exactly the jobs that were shown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response

from producer.api.access import Caller
from producer.api.problems import ProblemError
from producer.api.shown import Amount, Shown, answer
from producer.client.bulk import Done
from producer.client.purchases import NOTHING, Purchases
from shared.db.jobs import bulk
from shared.db.jobs.bulk import Target


@dataclass(frozen=True, slots=True)
class HowAsked:
    """Whether to act or only to show, and what the caller was shown before."""

    dry_run: Annotated[bool, Query(description="true: change nothing, and say what would happen")] = False
    confirm: Annotated[
        str | None, Query(max_length=100, description="`confirm` of a dry run: do exactly what it showed")
    ] = None


How = Annotated[HowAsked, Depends(HowAsked)]


class Group(Shown):
    """Jobs of one account with one reason, and what would happen to them."""

    account: str
    reason: str
    act: str
    jobs: int


class Planned(Shown):
    """A dry run. `confirm` stands for exactly these jobs in exactly this state."""

    jobs: int
    groups: list[Group]
    left_alone: dict[str, int] = Field(description="reason -> jobs that match and would not change")
    second_charge: dict[str, Amount] = Field(description="unit -> the most that could be paid a second time")
    second_charge_unpriced: int = Field(description="calls of unknown price among them")
    confirm: str


class DoneShown(Shown):
    """What was done, by act or by new state, and how many jobs had changed since they were looked at."""

    done: dict[str, int]
    changed_meanwhile: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a dry run shows, and what carrying it out would buy."""

    act: str
    targets: Sequence[Target]
    at: Any
    left: Sequence[tuple[str, int]] = ()
    purchases: Purchases = NOTHING

    @property
    def confirm(self) -> str:
        """What stands for these jobs in this state."""
        return bulk.token(self.act, self.targets, self.at)

    def shown(self) -> Planned:
        """Return the answer to a dry run."""
        charge = bulk.second_charge(self.purchases.again)
        groups = Counter((one.account, one.reason, one.act) for one in self.targets)
        return Planned(
            jobs=len(self.targets),
            groups=[Group(account=a, reason=r, act=act, jobs=n) for (a, r, act), n in sorted(groups.items())],
            left_alone=dict(self.left),
            second_charge=charge.amounts,
            second_charge_unpriced=charge.unpriced,
            confirm=self.confirm,
        )

    def require(self, caller: Caller, confirm: str | None) -> None:
        """Raise `ProblemError` unless the caller may do exactly this; counts what is paid for against its cap."""
        if confirm is not None and not bulk.is_of(confirm, self.act, self.targets):
            how = bulk.difference(confirm, self.targets) or "that is no confirmation of a dry run"
            raise ProblemError("changed_meanwhile", how)
        needed = self.purchases.scopes
        if needed and not any(map(caller.token.allows, needed)):
            raise ProblemError("scope_missing", self.purchases.lacking)
        if self.purchases.again and confirm is None:
            raise ProblemError("confirmation_required")
        if self.purchases.are_any:
            caller.client.count_spending(caller.token, self.purchases)


def told(done: Done) -> Response:
    """Return what was done as an answer."""
    jobs = {name: count for name, count in done.jobs.items() if count}
    return answer(DoneShown(done=jobs, changed_meanwhile=done.moved_on))
