"""The part of a `Client` that reads batches, waits for them and changes their caps and policy."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Final

from producer.client.connection import Connected
from producer.money import CapError, parse_caps, said_caps
from shared import catalog
from shared.db import audit
from shared.db.engine import Connection
from shared.db.jobs import bulk, inbox, policy, resolve, steering
from shared.db.jobs.bulk import Which
from shared.db.jobs.policy import HeldByPolicy
from shared.db.payments.caps import held_before, of_batch, requeue_batch, set_for
from shared.db.read import counts, ending, pages
from shared.db.read.ending import BatchEnding
from shared.db.read.pages import BatchCursor, Row
from shared.db.waking import wake
from shared.policies import OnUnknown

_POLL_SECONDS: Final = 0.5
_BUSY_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A batch's old and new policy, and how many held jobs are looked at again."""

    before: OnUnknown
    now: OnUnknown
    due: int


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """A batch's row, its jobs by provider and state, their error codes, and its caps by provider."""

    row: Row
    states: dict[str, dict[str, int]]
    reasons: dict[str, int]
    caps: dict[str, Decimal]
    is_held: bool
    is_arriving: bool
    """Whether rows that came by SQL still wait to become jobs."""

    @property
    def totals(self) -> dict[str, int]:
        """State -> number of jobs."""
        totals: Counter[str] = Counter()
        for states in self.states.values():
            totals.update(states)
        return dict(totals)


class Batches(Connected):
    """Whole batches: their counts, their end, their caps and their policy."""

    def batches(self) -> list[Row]:
        """Return every batch with its jobs counted by state."""
        found: list[Row] = []
        after = None
        while True:
            with self._connection() as connection:
                page = pages.batches(connection, after=after)
            found += page
            if len(page) < pages.SIZE:
                return [{name: value for name, value in row.items() if name != "id"} for row in found]
            after = BatchCursor(page[-1]["created_at"], page[-1]["id"])

    def batch_page(self, *, prefix: str = "", after: BatchCursor | None, limit: int) -> list[Row]:
        """Return up to `limit` batches behind `after`, oldest first; `created_at` and `id` lead to the next page.

        `prefix` begins their names.
        """
        with self._connection() as connection:
            return pages.batches(connection, prefix=prefix, after=after, limit=limit)

    def batch(self, name: str) -> BatchFacts:
        """Return a batch with its counts and caps, as of one moment; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, name)
            is_arriving = inbox.has(connection, name)  # before the counts, as in `settling`
            found = pages.batches(connection, name=name, limit=1)
            reasons: Counter[str] = Counter()
            for codes in counts.by_error(connection, name).values():
                reasons.update(codes)
            return BatchFacts(
                row=found[0],
                states=counts.by_state(connection, name),
                reasons=dict(reasons),
                caps=of_batch(connection, name),
                is_held=steering.is_held(connection, name),
                is_arriving=is_arriving,
            )

    def counts(self, batch: str) -> dict[str, dict[str, int]]:
        """Return provider -> state -> number of jobs; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            return counts.by_state(connection, batch)

    def totals(self, batch: str) -> dict[str, int]:
        """Return state -> number of jobs of `batch`; raises `NoSuchBatchError`."""
        totals: dict[str, int] = {}
        for states in self.counts(batch).values():
            for state, jobs in states.items():
                totals[state] = totals.get(state, 0) + jobs
        return totals

    def error_counts(self, batch: str) -> dict[str, dict[str, int]]:
        """Return provider -> error code -> number of jobs with that code; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            return counts.by_error(connection, batch)

    def ending(self, batch: str) -> BatchEnding:
        """Return how the jobs of `batch` ended so far, with each reason; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            return ending.of_batch(connection, batch)

    def caps(self, batch: str) -> dict[str, Decimal]:
        """Return the caps of `batch` by provider, each in the provider's unit; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            return of_batch(connection, batch)

    def wait(self, batch: str, *, timeout_seconds: float | None = None) -> dict[str, int]:
        """Return state -> number of jobs once every job of `batch` has ended or is held.

        Raises `TimeoutError` after `timeout_seconds`, `NoSuchBatchError`.
        """
        end = time.monotonic() + timeout_seconds if timeout_seconds is not None else float("inf")
        while True:
            totals, is_over = self.settling(batch)
            if is_over:
                return totals
            if time.monotonic() >= end:
                raise TimeoutError(f"batch {batch!r} has not ended within {timeout_seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def settling(self, batch: str) -> tuple[dict[str, int], bool]:
        """Return state -> number of jobs of `batch`, and whether it has settled; raises `NoSuchBatchError`.

        It has not while rows that came by SQL still wait to become jobs.
        """
        # In this order: rows leave the inbox in the transaction that makes them jobs.
        is_arriving = self.is_arriving(batch)
        totals = self.totals(batch)
        return totals, is_settled(totals) and not is_arriving

    def is_arriving(self, batch: str) -> bool:
        """Tell whether rows that came by SQL still wait to become jobs of a batch."""
        with self._connection() as connection:
            return inbox.has(connection, batch)

    def cap(self, batch: str, max_cost: Sequence[str]) -> dict[str, Decimal]:
        """Set caps of `batch` and retry jobs that waited for room; other providers' caps stay.

        Returns the present caps by provider. Raises `CapError`, also for an empty sequence, and `NoSuchBatchError`.
        """
        if not max_cost:
            raise CapError("name at least one amount; only uncap removes the caps of a batch")
        return self._set_caps(batch, max_cost)

    def uncap(self, batch: str) -> None:
        """Remove every cap of `batch`, and retry jobs that waited for room. Raises `NoSuchBatchError`."""
        self._set_caps(batch, ())

    def _set_caps(self, batch: str, max_cost: Sequence[str]) -> dict[str, Decimal]:
        """Set the caps, none if `max_cost` is empty, and let jobs go on that fit now."""
        with self._connection() as connection:
            self._require(connection, batch)
            caps = parse_caps(max_cost, providers=counts.by_state(connection, batch))
            set_for(connection, batch, caps)
            audit.note(connection, self._entry("cap", Which(batch=batch), said_caps(caps)), changed=1)
            wake(connection)
            holds = of_batch(connection, batch)
        self._let_go(batch)
        return holds

    def _let_go(self, batch: str) -> None:
        """Put jobs that may fit under the new caps back in line, a few hundred per transaction."""
        with self._connection() as connection:
            until = held_before(connection)
        self._until_none_is_left(partial(requeue_batch, batch=batch, until=until))

    def policy(self, batch: str) -> OnUnknown:
        """Return what a batch does with lost calls that bought nothing; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            return policy.of_batch(connection, batch)

    def set_policy(self, batch: str, on_unknown: OnUnknown) -> PolicyChange:
        """Change a batch's policy, and make its held jobs in doubt due for a new look; raises `NoSuchBatchError`.

        This sends nothing: the new look decides.
        """
        with self._connection() as connection:
            self._require(connection, batch)
            before = policy.of_batch(connection, batch)
            policy.change(connection, batch, on_unknown)
            self._note_policy(connection, batch, on_unknown)
        return PolicyChange(before, on_unknown, self._look_anew(batch, on_unknown))

    def _note_policy(self, connection: Connection, batch: str, on_unknown: OnUnknown) -> None:
        """Audit a change of policy; `resend` may pay a second time for each call that is in doubt now."""
        doubts = policy.in_doubt(connection, batch) if on_unknown == "resend" else []
        held = bulk.describe(connection, [(claim, resolve.RESEND) for claim in doubts])
        entry = self._entry("policy", Which(batch=batch), on_unknown)
        audit.note(connection, entry, changed=1, worst=bulk.second_charge(held))

    def held_by_policy(self, batch: str | None = None) -> list[HeldByPolicy]:
        """Return the batches whose policy holds jobs although a provider could show that nothing was bought."""
        providers = [name for name in catalog.names() if catalog.get(name).shows_lost]
        with self._connection() as connection:
            return policy.held_by_policy(connection, providers, batch=batch)

    def _look_anew(self, batch: str, on_unknown: OnUnknown) -> int:
        with self._connection() as connection:
            left = policy.in_doubt(connection, batch)
        due, end = 0, time.monotonic() + _LOOK_SECONDS
        while left:
            for some in bulk.chunks(left):
                with self._connection() as connection:
                    due += policy.look_anew(connection, some, on_unknown, actor="person")
                    wake(connection)
            if time.monotonic() >= end:
                break  # a look that takes this long decides by the new policy
            with self._connection() as connection:
                left = policy.busy(connection, left)
            time.sleep(_BUSY_SECONDS if left else 0)
        return due


def is_settled(totals: Mapping[str, int]) -> bool:
    """Tell whether nothing more happens without a person: every job has ended or is held."""
    return not any(totals.get(state) for state in counts.UNDECIDED)
