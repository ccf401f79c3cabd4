"""What a prompt file would cost and take before anything is enqueued: counted row by row, nothing written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from producer.prompts import PreparedFile
from producer.readiness import NO_WORKER, Demand, Remark, batch_cap, remarks
from producer.weighing import Share, Tally, Total, Weighed, weigh
from shared import catalog
from shared.catalog.estimates import estimate
from shared.db import accounts, caps, planning, workers
from shared.db.engine import Connection
from shared.db.workers import ALIVE_SECONDS
from shared.settings import Settings, Window

_CHUNK: Final = 1000
_CREDIT: Final = "credit"


class Bound(NamedTuple):
    """The least seconds until a share's last paid call has been made, and what bounds it; none known = 0 and empty."""

    seconds: float
    because: str


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """One account's share, and how the account stands."""

    share: Share
    waiting: int
    """Jobs queued for the account already."""
    ahead: int
    """How many of them are bought before the last of the share."""
    least: Bound
    balance: Decimal | None
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What enqueueing a file would add to a batch, cost and take; `conflicts` holds the first of `conflict_count`."""

    batch: str
    batch_exists: bool
    accounts: tuple[AccountPlan, ...]
    conflict_count: int
    conflicts: tuple[str, ...]
    remarks: tuple[Remark, ...]
    """What concerns no single account."""

    @property
    def new(self) -> int:
        """How many jobs it would add."""
        return sum(planned.share.rows for planned in self.accounts)

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
        """Whether something is missing for which jobs would wait or fail."""
        return any(remark.waits for remark in self.all_remarks())

    def all_remarks(self) -> Iterator[Remark]:
        """Yield what is to be said, of the accounts and of everything."""
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
) -> Plan:
    """Return what `enqueue` would do with `prepared`; the transaction becomes one that can only read.

    `max_cost` are caps by provider; those that the batch has of other providers stay.
    """
    planning.read_only(connection)
    batch_id = planning.batch_id(connection, batch)
    dealt = planning.dealt(connection)
    tally = _tally(connection, weigh(prepared.rows(), dealt, settings), batch_id)
    shares = sorted(tally.shares.values(), key=lambda share: share.account)
    capped = {**caps.of_batch(connection, batch), **(max_cost or {})}
    said = list(_of_batch(connection, batch_id, batch, shares, capped))
    if any(share.rows for share in shares) and not _worker_lives(connection):
        said.append(NO_WORKER)
    return Plan(
        batch=batch,
        batch_exists=batch_id is not None,
        accounts=tuple(_account_plans(connection, shares, dealt, settings, capped)),
        conflict_count=tally.conflict_count,
        conflicts=tuple(tally.conflicts),
        remarks=tuple(said),
    )


def _tally(connection: Connection, rows: Iterator[Weighed], batch: UUID | None) -> Tally:
    tally = Tally()
    while chunk := list(islice(rows, _CHUNK)):
        there = planning.found(connection, batch, [row.asked for row in chunk]) if batch else {}
        for index, row in enumerate(chunk):
            tally.count(row, there.get(index))
    return tally


def _of_batch(
    connection: Connection, batch_id: UUID | None, batch: str, shares: Sequence[Share], capped: Mapping[str, Decimal]
) -> Iterator[Remark]:
    """Yield what the batch's caps have no room for; all accounts of a provider spend from one cap."""
    for provider, cap in sorted(capped.items()):
        wanted = sum((share.high + share.due for share in shares if share.provider == provider), Decimal(0))
        spent = planning.spent_in_batch(connection, batch_id, provider) if batch_id else Decimal(0)
        if wanted > cap - spent:
            yield batch_cap(batch, catalog.get(provider), cap=cap, left=cap - spent, wanted=wanted)


def _account_plans(
    connection: Connection,
    shares: Iterable[Share],
    dealt: Mapping[str, Sequence[str]],
    settings: Settings,
    capped: Mapping[str, Decimal],
) -> Iterator[AccountPlan]:
    registered = {str(row["name"]): row for row in accounts.listing(connection)}
    lines = planning.waiting(connection)
    for share in shares:
        row: Mapping[str, Any] | None = registered.get(share.account)
        line = lines.get(share.account, {})
        ahead = _ahead(share, line)
        least_time = _least(share, ahead, row)
        demand = Demand(
            account=share.account,
            unit=share.unit,
            high=share.high,
            due=share.due,
            unpriced=share.unpriced,
            without_brand=share.without_brand,
            seconds=least_time.seconds,
            capped=share.provider in capped,
            spent_today=planning.spent_today(connection, share.account) if row and row["daily_cap"] else Decimal(0),
        )
        fresh = share.account in dealt.get(share.provider, ())
        said = tuple(remarks(demand, row, settings, fresh=fresh)) if share.rows else ()
        yield AccountPlan(share, sum(line.values()), ahead, least_time, row["balance"] if row else None, said)


def _ahead(share: Share, line: Mapping[int, int]) -> int:
    """Count who in `line` is bought before the last of `share`: its own priority takes turns with it."""
    if not share.rows:
        return 0
    last = min(share.priorities)
    before = sum(jobs for priority, jobs in line.items() if priority > last)
    return before + min(line.get(last, 0), share.priorities[last])


def _least(share: Share, ahead: int, row: Mapping[str, Any] | None) -> Bound:
    if not share.rows:
        return Bound(0.0, "")
    provider = catalog.get(share.provider)
    windows = [Window(**w) for w in row["windows"]] if row else [Window(**w._asdict()) for w in provider.windows]
    concurrency = row["concurrency"] if row else provider.concurrency
    calls, seconds = ahead + share.rows, estimate(share.provider).call_seconds
    bounds = [Bound(-(-calls // concurrency) * seconds, f"{concurrency} at once")]
    for window in windows:
        requests = calls + (share.polls if window.scope == "all" else 0)
        bounds.append(Bound((requests - 1) // window.requests * window.seconds, str(window)))
    longest = max(bounds, key=lambda bound: bound.seconds)
    return longest if longest.seconds else Bound(0.0, "")


def _worker_lives(connection: Connection) -> bool:
    return any(float(str(row["tick_age_seconds"])) < ALIVE_SECONDS for row in workers.listing(connection))
