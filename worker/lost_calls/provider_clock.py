"""The provider's clock, derived from rows of purchases whose time we know. The `Date` header is not used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shared.db.lost_calls.lost_calls import Purchase
from shared.upstream_ids import folded
from worker.lost_calls.listing import ListReading
from worker.providers.contract import Listed

_MARGIN: Final = timedelta(seconds=1.1)  # a provider may truncate its times to whole seconds


@dataclass(frozen=True, slots=True)
class ProviderClock:
    """How far the provider's times are ahead of ours, at least and at most.

    `known`: derived from our own rows. Otherwise the clock is assumed to be right within `slack`.
    """

    least: timedelta
    most: timedelta
    known: bool = True

    @property
    def width_seconds(self) -> float:
        """How far two times of this clock may differ for the same moment."""
        return (self.most - self.least + 2 * _MARGIN).total_seconds()

    def earliest(self, moment: datetime) -> datetime:
        """Return the earliest time that the provider may give to an event at `moment`."""
        return moment + self.least - _MARGIN

    def latest(self, moment: datetime) -> datetime:
        """Return the latest time that the provider may give to an event at `moment`."""
        return moment + self.most + _MARGIN


@dataclass(frozen=True, slots=True)
class ClockBound:
    """How far the provider's times are ahead of ours at least and at most, by one row of ours."""

    submission_id: UUID
    least: timedelta
    most: timedelta


def bounds_of(rows: Iterable[Listed], purchases: Mapping[str, Purchase]) -> list[ClockBound]:
    """Derive bounds from our own rows: each row was made after its call began and before the call's answer."""
    return [
        ClockBound(bought.submission_id, row.made_at - bought.answered_at, row.made_at - bought.opened_at)
        for row in rows
        if row.made_at is not None and (bought := purchases.get(folded(row.upstream_id or ""))) is not None
    ]


def clock_within(bounds: Sequence[ClockBound], *, slack_seconds: float) -> ProviderClock:
    """Return the clock within these bounds; without any, it is assumed to be right within `slack_seconds`."""
    if not bounds:
        slack = timedelta(seconds=slack_seconds)
        return ProviderClock(-slack, slack, known=False)
    least, most = max(one.least for one in bounds), min(one.most for one in bounds)
    if least > most:  # the clock was changed, or there are several clocks
        least, most = min(one.least for one in bounds), max(one.most for one in bounds)
    return ProviderClock(least, most)


def clock_of(rows: Iterable[Listed], purchases: Mapping[str, Purchase], *, slack_seconds: float) -> ProviderClock:
    """Derive the clock from our own rows."""
    return clock_within(bounds_of(rows, purchases), slack_seconds=slack_seconds)


def placed(reading: ListReading) -> Sequence[tuple[Listed, datetime | None, datetime | None]]:
    """Return each row with the earliest and latest time at which it can have been made; None = unbounded.

    A row without a time lies between its neighbours if the list is in order.
    """
    rows = reading.rows
    if not reading.is_newest_first:
        return [(row, row.made_at, row.made_at) for row in rows]
    newest: list[datetime | None] = []
    newer: datetime | None = None
    for row in rows:
        newest.append(row.made_at or newer)
        newer = row.made_at or newer
    oldest: list[datetime | None] = []
    older: datetime | None = None
    for row in reversed(rows):
        oldest.append(row.made_at or older)
        older = row.made_at or older
    return list(zip(rows, reversed(oldest), newest, strict=True))
