"""A reading of a provider's list beside what the database knows of its images: what a judgement goes by."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from shared.db.lost_calls.lost_calls import LostCall, Purchase
from shared.upstream_ids import folded
from worker.lost_calls.listing import ListReading
from worker.lost_calls.owners import is_doubtful
from worker.lost_calls.provider_clock import ClockBound, ProviderClock, bounds_of, clock_within
from worker.providers.contract import FindBy, Listed


@dataclass(frozen=True, kw_only=True)
class ListFacts:
    """A reading of a list, and what the database knows about its images at the time of the judgement.

    `owned`: ids that belong to a call of ours. `purchases`: images that the provider itself said it made for us, by
    their folded ids. `key_id`: the key that the list was read with. `in_the_air_since`: when the oldest call without an
    answer began. `wanted`: the request of the call, in its provider's words. `slack_seconds`: how far the provider's
    clock may differ. `quiet_seconds`: how late a purchase may show. `bought_before`: whether the lost call's key is
    known to have bought something before that call, however long ago.
    """

    reading: ListReading
    find_by: FindBy
    owned: Collection[str] = ()
    purchases: Mapping[str, Purchase] = field(default_factory=dict)
    key_id: str | None = None
    in_the_air_since: datetime | None = None
    slack_seconds: float = 0.0
    quiet_seconds: float = 0.0
    wanted: Mapping[str, Any] = field(default_factory=dict)
    bought_before: bool = False

    @cached_property
    def clock(self) -> ProviderClock:
        """The provider's clock, derived from our own rows."""
        return clock_within(self._bounds, slack_seconds=self.slack_seconds)

    @cached_property
    def _bounds(self) -> Sequence[ClockBound]:
        return bounds_of(self.reading.rows, self.purchases)

    @cached_property
    def listed(self) -> frozenset[str]:
        """The folded ids in the list."""
        return frozenset(folded(row.upstream_id) for row in self.reading.rows if row.upstream_id)

    @cached_property
    def taken(self) -> frozenset[str]:
        """The folded ids of what belongs to a call of ours."""
        return frozenset(folded(one) for one in (*self.owned, *self.purchases))

    @cached_property
    def shows_references(self) -> bool:
        """Whether a purchase of ours carries its reference, so that an image without one is somebody else's."""
        return any(
            row.reference == str(bought.submission_id)
            for row in self.reading.rows
            if (bought := self.purchases.get(folded(row.upstream_id or ""))) is not None
        )

    def has_owner(self, row: Listed) -> bool:
        """Whether a row belongs to a call of ours, as far as is recorded."""
        return row.upstream_id is not None and folded(row.upstream_id) in self.taken

    def is_explained(self, row: Listed, lost_call: LostCall) -> bool:
        """Whether a row is certainly not the lost call's, because it belongs to another call of ours."""
        owner = self.purchases.get(folded(row.upstream_id or ""))
        if owner is None or owner.submission_id == lost_call.submission_id:
            return self.has_owner(row)
        begin, end = self.clock.earliest(lost_call.opened_at), self.clock.latest(lost_call.until)
        if row.made_at is not None and not begin <= row.made_at <= end:
            return True
        return not is_doubtful(row, owner, lost_call, self._bounds, slack_seconds=self.slack_seconds)
