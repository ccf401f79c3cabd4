"""A batch's plan: rows counted a thousand at a time, each account's share, and what is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Final
from uuid import UUID

from producer.plan.remarks import NO_WORKER, Remark, batch_cap, bought_elsewhere, remarks
from producer.plan.rows import PricedRow, priced
from producer.plan.shares import Share, Tally, Total
from producer.plan.terms import known_terms
from producer.plan.times import Bound, ahead_of, least_time, usual_time
from producer.prompts import PreparedFile
from shared import catalog
from shared.db import workers
from shared.db.accounts import AccountTerms
from shared.db.engine import Connection
from shared.db.jobs.dealing import dealing
from shared.db.jobs.revisions import Revisions
from shared.db.payments import caps, offers
from shared.db.read import planning
from shared.db.read.planning import Asked, Standing
from shared.db.read.usual import Usual, usual
from shared.db.workers import ALIVE_SECONDS
from shared.settings import Settings

_CHUNK: Final = 1000
_CREDIT: Final = "credit"


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """One account's share, and how the account stands."""

    share: Share
    waiting: int
    """Jobs queued for the account already."""
    ahead: int
    """How many of them are bought before the last of the share."""
    least: Bound
    usual_seconds: float | None
    """Until its last pictures are there, going by recent calls; None before the first ones."""
    balance: Decimal | None
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The plan of a file for a batch; `conflicts` holds the first of `conflict_count`."""

    batch: str
    batch_exists: bool
    accounts: tuple[AccountPlan, ...]
    conflict_count: int
    conflicts: tuple[str, ...]
    remarks: tuple[Remark, ...]
    """Remarks that concern no single account."""

    @property
    def new(self) -> int:
        """How many jobs it would add."""
        return sum(planned.share.rows for planned in self.accounts)

    @property
    def usual_seconds(self) -> float | None:
        """How long all of it usually takes; None where that is not known of each account."""
        times = [planned.usual_seconds for planned in self.accounts if planned.share.rows]
        known = [seconds for seconds in times if seconds is not None]
        return max(known) if known and len(known) == len(times) else None

    @property
    def totals(self) -> list[Total]:
        """The money by unit; credits by provider."""
        found: dict[tuple[str, str | None], list[Total]] = {}
        for planned in self.accounts:
            share = planned.share
            whose = share.provider if share.unit == _CREDIT else None
            found.setdefault((share.unit, whose), []).append(share.money)
        return [_sum(each, unit, whose) for (unit, whose), each in found.items()]

    @property
    def would_wait(self) -> bool:
        """Whether something is missing, so that jobs would wait or fail."""
        return any(remark.waits for remark in self.all_remarks())

    def all_remarks(self) -> Iterator[Remark]:
        """Yield the remarks on the accounts and on the whole."""
        yield from self.remarks
        for planned in self.accounts:
            yield from planned.remarks


def _sum(each: Sequence[Total], unit: str, provider: str | None) -> Total:
    highs = [total.high for total in each if total.high is not None]
    low = sum((total.low for total in each), Decimal(0))
    return Total(unit, low, sum(highs, Decimal(0)) if len(highs) == len(each) else None, provider)


def plan(
    connection: Connection,
    prepared: PreparedFile,
    *,
    batch: str,
    settings: Settings,
    max_cost: Mapping[str, Decimal] | None = None,
    changed: bool = False,
) -> BatchPlan:
    """Return what `enqueue` would do with `prepared`; makes the transaction read-only.

    `max_cost` are caps by provider; the batch's caps of other providers stay. `changed`: edited rows are revisions.
    """
    planning.read_only(connection)
    batch_id = planning.batch_id(connection, batch)
    standings = planning.standings(connection)
    terms = known_terms(settings, standings)
    rows = priced(prepared.rows(), dealing(connection), terms, offers.load(connection))
    tally, again = _tally(connection, _revised(connection, batch, rows) if changed else rows, batch_id)
    shares = sorted(tally.shares.values(), key=lambda share: share.account)
    lately = {one.account: one for one in usual(connection)}
    capped = {**caps.of_batch(connection, batch), **(max_cost or {})}
    return BatchPlan(
        batch=batch,
        batch_exists=batch_id is not None,
        accounts=tuple(
            _account_plan(
                share,
                standings.get(share.account),
                settings,
                terms.get(share.account),
                lately.get(share.account),
                capped=share.provider in capped,
            )
            for share in shares
        ),
        conflict_count=tally.conflict_count,
        conflicts=tuple(tally.conflicts),
        remarks=(
            *_caps(connection, batch_id, batch, shares, capped),
            *_workers(connection, shares),
            *([bought_elsewhere(again)] if again.jobs else []),
        ),
    )


def _revised(connection: Connection, batch: str, rows: Iterator[PricedRow]) -> Iterator[PricedRow]:
    """Yield the rows under the custom_ids that `enqueue --changed` would give them."""
    revisions = Revisions(connection, batch)
    while chunk := list(islice(rows, _CHUNK)):
        names = revisions.names([row.asked for row in chunk])
        yield from (row._replace(asked=row.asked._replace(custom_id=names[index])) for index, row in enumerate(chunk))


def _tally(
    connection: Connection, rows: Iterator[PricedRow], batch: UUID | None
) -> tuple[Tally, planning.BoughtElsewhere]:
    """Count the rows; also return how many of the first thousand new ones other batches hold already."""
    tally = Tally()
    new: list[Asked] = []
    while chunk := list(islice(rows, _CHUNK)):
        there = planning.found(connection, batch, [row.asked for row in chunk]) if batch else {}
        for index, row in enumerate(chunk):
            tally.count(row, there.get(index))
            if index not in there and len(new) < _CHUNK:
                new.append(row.asked)
    return tally, planning.elsewhere(connection, batch, new)


def _account_plan(
    share: Share,
    standing: Standing | None,
    settings: Settings,
    terms: AccountTerms | None,
    lately: Usual | None,
    *,
    capped: bool,
) -> AccountPlan:
    line = standing.waiting if standing else {}
    ahead = ahead_of(share, line)
    least = least_time(share, ahead, standing)
    said = tuple(remarks(share, standing, settings, terms, seconds=least.seconds, capped=capped)) if share.rows else ()
    usually = max(least.seconds, usual_time(ahead + share.rows, lately)) if lately and share.rows else None
    balance = standing.balance if standing else None
    return AccountPlan(share, sum(line.values()), ahead, least, usually, balance, said)


def _caps(
    connection: Connection, batch_id: UUID | None, batch: str, shares: Sequence[Share], capped: Mapping[str, Decimal]
) -> Iterator[Remark]:
    """Yield a remark for each cap of the batch without enough room; all accounts of a provider share one cap."""
    for provider, cap in sorted(capped.items()):
        wanted = sum((share.high + share.due for share in shares if share.provider == provider), Decimal(0))
        spent = planning.spent_in_batch(connection, batch_id, provider) if batch_id else Decimal(0)
        if wanted > cap - spent:
            given = {"cap": cap, "left": cap - spent, "wanted": wanted}
            yield batch_cap(batch, catalog.get(provider), **given, is_new=batch_id is None)


def _workers(connection: Connection, shares: Sequence[Share]) -> Iterator[Remark]:
    ticks = (float(str(row["tick_age_seconds"])) for row in workers.listing(connection))
    if any(share.rows for share in shares) and not any(age < ALIVE_SECONDS for age in ticks):
        yield NO_WORKER
