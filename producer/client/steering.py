"""The part of a `Client` that steers a batch that runs: hold and release, priority, deadline."""

from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from producer.client.connection import Connected
from shared.db import audit
from shared.db.engine import Connection
from shared.db.jobs import steering
from shared.db.jobs.bulk import Which
from shared.db.jobs.steering import Changed
from shared.db.waking import wake

PRIORITY_MIN: Final = -32_768
PRIORITY_MAX: Final = 32_767
MOST_DEADLINE: Final = 10 * 365 * 86_400.0
"""Seconds from now."""


class Steering(Connected):
    """Whole batches that run."""

    def hold(self, batch: str) -> int:
        """Buy nothing more for `batch` until it is released; return how many queued jobs this put on hold for it.

        What was bought already is collected. Raises `NoSuchBatchError`.
        """
        with self._connection() as connection:
            self._require(connection, batch)
            if steering.hold(connection, batch):
                audit.note(connection, self._entry("hold", Which(batch=batch)), changed=1)
        return self._until_none_is_left(partial(steering.put_batch_on_hold, batch=batch, actor="person"))

    def release(self, batch: str) -> int:
        """Let a held `batch` go on; return how many jobs are back in line. Raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            was_held = steering.is_held(connection, batch)
            steering.release(connection, batch)
            if was_held:
                audit.note(connection, self._entry("release", Which(batch=batch)), changed=1)
        back = partial(steering.return_to_line, batch=batch, deadline_seconds=self.settings.deadline_seconds)
        return self._until_none_is_left(back)

    def is_held(self, batch: str) -> bool:
        """Tell whether `batch` is held; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            return steering.is_held(connection, batch)

    def set_priority(self, batch: str, priority: int) -> int:
        """Buy the jobs of `batch` before those of lower priorities; return how many had not ended.

        Raises `NoSuchBatchError`, and `ValueError` beyond -32,768 to 32,767.
        """
        if not PRIORITY_MIN <= priority <= PRIORITY_MAX:
            raise ValueError(f"a priority is a whole number from {PRIORITY_MIN} to {PRIORITY_MAX}")
        change = partial(steering.set_priority, batch=batch, priority=priority)
        return self._page_by_page("priority", batch, str(priority), change)

    def set_deadline(self, batch: str, seconds: float) -> int:
        """Let queued jobs of `batch` buy nothing after `seconds` from now; return how many it applies to.

        Raises `NoSuchBatchError`, and `ValueError` unless `seconds` is positive and at most ten years.
        """
        if not 0 < seconds <= MOST_DEADLINE:
            raise ValueError("a deadline is some time from now, at most ten years")
        change = partial(steering.set_deadline, batch=batch, seconds=seconds)
        return self._page_by_page("deadline", batch, f"{seconds:g} s", change)

    def _page_by_page(self, act: str, batch: str, terms: str, change: Callable[..., Changed]) -> int:
        entry = self._entry(act, Which(batch=batch), terms)

        def some(connection: Connection, *, after: UUID | None) -> Changed:
            self._require(connection, batch)
            changed = change(connection, after=after)
            audit.note(connection, entry, changed=changed.jobs)
            wake(connection)
            return changed

        changed = self._unless_locked_out(partial(some, after=None))
        total = changed.jobs
        while changed.after is not None:
            changed = self._unless_locked_out(partial(some, after=changed.after))
            total += changed.jobs
        return total
