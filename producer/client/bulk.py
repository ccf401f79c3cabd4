"""Commands on many jobs from Python: plan them, look at the plan, then carry out exactly that plan."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from producer.client.connection import Connected
from producer.money import is_amount
from producer.plan import retrying
from shared import catalog
from shared.db import audit
from shared.db.audit import AuditEntry
from shared.db.engine import Connection
from shared.db.jobs import bulk, cancel, resolve, retry
from shared.db.jobs.bulk import CHUNK, BulkPlan, SecondCharge, Target, Which
from shared.db.jobs.retry import BUY_AGAIN, RetryPlan

_BUSY_SECONDS: Final = 0.1
_CANCEL_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a plan: jobs by what was done or by their new state, and those that had changed since."""

    jobs: Counter[str]
    moved_on: int = 0


@dataclass(frozen=True, slots=True)
class Resolve:
    """A plan of `plan_resolve`: the held jobs that would be sent again or given up.

    `charged` is the cost of each lost call in the provider's own history; None leaves the money held.
    """

    plan: BulkPlan
    resend: bool
    charged: Decimal | None

    @property
    def second_charge(self) -> SecondCharge:
        """The most that carrying it out could pay a second time."""
        return bulk.second_charge(self.plan.targets if self.resend else ())


class Bulk(Connected):
    """The part of a `Client` that acts on many jobs; each call commits a hundred jobs at a time."""

    def most_cost(self, jobs: Sequence[UUID]) -> SecondCharge:
        """Return the most that sending these jobs may cost, by unit, and how many have no known bound."""
        with self._connection() as connection:
            return retrying.most_cost(connection, jobs, self.settings)

    def plan_resolve(
        self,
        *,
        resend: bool,
        charged: Decimal | None = None,
        job: UUID | None = None,
        batch: str | None = None,
        account: str | None = None,
        code: str | None = None,
    ) -> Resolve:
        """Return the held jobs that match, and the highest second charge for them; changes nothing.

        `charged` is for each lost call. With it and without `resend`, ended jobs whose lost call has an open cost
        match too. Raises `NoSuchBatchError`, and `ValueError` for an invalid amount, for an amount above zero of jobs
        that are charged in different units, and if nothing names the jobs.
        """
        if charged is not None and not is_amount(charged):
            raise ValueError(f"not an amount: {charged!s:.40}")
        with self._connection() as connection:
            which = self._which(connection, batch, account, code, job)
            plan = resolve.plan(connection, which, resend=resend, charged=charged)
        units = sorted({target.unit for target in plan.targets})
        if charged and len(units) > 1:
            raise ValueError(f"these calls are charged in {' and in '.join(units)}: name one account")
        return Resolve(plan, resend, charged)

    def plan_cancel(
        self,
        *,
        job: UUID | None = None,
        batch: str | None = None,
        account: str | None = None,
        code: str | None = None,
    ) -> BulkPlan:
        """Return the jobs that match and have not ended, by what cancelling would do; changes nothing.

        Raises `NoSuchBatchError`, and `ValueError` where nothing names the jobs.
        """
        with self._connection() as connection:
            return cancel.plan(connection, self._which(connection, batch, account, code, job))

    def plan_retry(
        self,
        *,
        job: UUID | None = None,
        batch: str | None = None,
        account: str | None = None,
        code: str | None = None,
    ) -> RetryPlan:
        """Return the failed jobs that match, by what a retry would do with them; changes nothing."""
        with self._connection() as connection:
            self._require(connection, batch)
            return retry.plan(connection, polled=_polled(), job=job, batch=batch, account=account, code=code)

    def retry(self, plan: RetryPlan, *, buy_again: bool = False) -> int:
        """Carry out a plan of `plan_retry` and return how many jobs go on; bought ones only with `buy_again`."""
        return self.carry_out_retry(plan, buy_again=buy_again).jobs.total()

    def carry_out_retry(self, plan: RetryPlan, *, buy_again: bool = False) -> Done:
        """Carry out a plan of `plan_retry`; return how many jobs are collected or bought, and how many had changed."""
        entry = self._entry("retry", plan.which, "--buy-again" if buy_again else "")

        def act(connection: Connection, shown: Sequence[Target]) -> Counter[str]:
            wanted = retry.as_shown(connection, shown, polled=_polled())
            acted = wanted.of(buy_again=buy_again)
            audit.note_targets(connection, entry, acted, [one for one in acted if one.act == BUY_AGAIN])
            moved = retry.carry_out(
                connection,
                wanted,
                actor="person",
                buy_again=buy_again,
                deadline_seconds=self.settings.deadline_seconds,
                collect_seconds=self.settings.collect_seconds,
            )
            return Counter(queued=moved)

        return self._in_chunks(plan.of(buy_again=buy_again), act)

    def carry_out_resolve(self, wanted: Resolve) -> Done:
        """Carry out a plan of `plan_resolve`; return the states of its jobs, and how many had changed."""
        terms = terms_of_resolve(resend=wanted.resend, charged=wanted.charged)
        entry = self._entry("resolve", wanted.plan.which, terms)

        def act(connection: Connection, shown: Sequence[Target]) -> Counter[str]:
            found = resolve.as_shown(connection, shown, resend=wanted.resend, charged=wanted.charged)
            audit.note_targets(connection, entry, found, found if wanted.resend else ())
            return resolve.carry_out(connection, found, resend=wanted.resend, charged=wanted.charged, actor="person")

        return self._in_chunks(wanted.plan.targets, act)

    def carry_out_cancel(self, plan: BulkPlan) -> Done:
        """Cancel the jobs of a plan of `plan_cancel` that have not ended yet.

        Purchases since the plan are followed to their end, like earlier ones. `busy` counts jobs that workers hold for
        longer than usual; `held` counts followed jobs that wait for a person.
        """
        done = Counter[str]()
        entry = self._entry("cancel", plan.which)
        for some in bulk.chunks([target.job_id for target in plan.targets]):
            done += self._cancel(entry, some)
        return Done(done, len(plan.targets) - done["cancelled"] - done["followed"] - done["busy"])

    def _cancel(self, entry: AuditEntry, ids: Sequence[UUID]) -> Counter[str]:
        done = Counter[str]()
        end = time.monotonic() + _CANCEL_SECONDS
        while True:
            with self._connection() as connection:
                part = cancel.cancel(connection, ids=ids, actor="person")
                audit.note(connection, entry, changed=part.ended + part.followed)
                left = len(cancel.plan(connection, Which(ids=ids)).targets) if part.more else 0
            done += Counter(cancelled=part.ended, followed=part.followed, held=part.held)
            if not left or time.monotonic() >= end:
                return done + Counter(busy=left)
            if not part.ended + part.followed:
                time.sleep(_BUSY_SECONDS)  # workers hold the remaining jobs for the length of a statement

    def _which(
        self, connection: Connection, batch: str | None, account: str | None, code: str | None, job: UUID | None
    ) -> Which:
        if not (batch or account or code or job):
            raise ValueError("name the jobs: by job, batch, account or error code")
        self._require(connection, batch)
        return Which(batch, account, code, job)

    def _in_chunks(
        self, targets: Sequence[Target], act: Callable[[Connection, Sequence[Target]], Counter[str]]
    ) -> Done:
        done = Counter[str]()
        for some in bulk.chunks(targets, CHUNK):

            def act_on_some(connection: Connection, some: Sequence[Target] = some) -> Counter[str]:
                return act(connection, some)

            done += self._unless_locked_out(act_on_some)
        return Done(done, len(targets) - done.total())


def terms_of_resolve(*, resend: bool, charged: Decimal | None) -> str:
    """Return how a lost call is resolved, in the words of the command's options."""
    how = "--resend" if resend else "--fail"
    return how if charged is None else f"{how} --charged {charged:f}"


def _polled() -> list[str]:
    providers = [catalog.get(name) for name in catalog.names()]
    return [provider.name for provider in providers if provider.is_polled]
