"""The part of a `Client` that reads and pauses accounts and lists the workers that serve them."""

from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID

from producer.client.connection import Connected
from shared.db import accounts, audit, pauses, purpose, restoration, schema, workers
from shared.db.jobs.bulk import Which
from shared.db.purpose import Purpose
from shared.db.read.database_facts import DatabaseFacts, database_facts
from shared.db.restoration import COMMAND, Restoration
from shared.db.workers import ALIVE_SECONDS


class Restored(NamedTuple):
    """What a restored database lacks, and by account: `searched`, `swept_until`, `unowned`, `waiting`."""

    loss: Restoration
    accounts: list[dict[str, Any]]


class AfterRestoreError(Exception):
    """The database was restored and lacks rows, so that single accounts are not resumed."""

    def __init__(self, found: Restoration) -> None:
        super().__init__(f"{found.words}: `{COMMAND}` shows what may be missing and ends it")


class AccountsAndWorkers(Connected):
    """Accounts, the workers that serve them, and the database."""

    def accounts(self) -> list[dict[str, object]]:
        """Return every account as a worker last wrote it: limits, pause and its reason."""
        with self._connection() as connection:
            return accounts.listing(connection)

    def pause(self, account: str, reason: str) -> bool:
        """Stop new paid calls of `account`; False if it was already paused."""
        with self._connection() as connection:
            paused = pauses.pause(connection, account, code=pauses.BY_HAND, reason=reason, action_url=None)
            audit.note(connection, self._entry("pause", Which(account=account)), changed=int(paused))
            return paused

    def resume(self, account: str) -> bool:
        """Let paid calls of `account` start again; False if there is no such account.

        Raises `AfterRestoreError` while a restored database lacks rows: that is not one account's matter.
        """
        with self._connection() as connection:
            if (found := restoration.current(connection)) is not None:
                raise AfterRestoreError(found)
            resumed = pauses.resume(connection, account)
            audit.note(connection, self._entry("resume", Which(account=account)), changed=int(resumed))
            return resumed

    def restoration(self) -> Restored | None:
        """Return what a restored database lacks, and how each account stands; None if it lacks nothing."""
        with self._connection() as connection:
            found = restoration.current(connection)
            return Restored(found, restoration.accounts_of(connection, found)) if found else None

    def states_of(self, ids: Collection[UUID]) -> list[dict[str, Any]]:
        """Return `id`, `batch`, `custom_id` and `state` of each of these jobs that the database has."""
        with self._connection() as connection:
            return restoration.states_of(connection, sorted(ids))

    def resume_after_restore(self) -> int:
        """Let the accounts that a restored database paused take jobs again; return their number."""
        with self._connection() as connection:
            resumed = restoration.end(connection)
            audit.note(connection, self._entry("resume", Which(), terms="after a restore"), changed=max(resumed, 1))
            return resumed

    def audited(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest `limit` audit lines, newest first."""
        with self._connection() as connection:
            return audit.newest(connection, limit)

    def unowned(self) -> list[dict[str, object]]:
        """Return the images that providers made and that no submission of ours owns."""
        from shared.db.lost_calls import unowned  # noqa: PLC0415 - one command in fifty lists them

        with self._connection() as connection:
            return unowned.listing(connection)

    def strays(self) -> list[dict[str, object]]:
        """Return what `unowned` returns, under the name of versions before 0.2."""
        return self.unowned()

    def workers(self) -> list[dict[str, object]]:
        """Return every worker with the seconds since its dispatcher's last tick."""
        with self._connection() as connection:
            return workers.listing(connection)

    def live_workers(self) -> int:
        """Return how many worker processes tick."""
        return sum(1 for row in self.workers() if float(str(row["tick_age_seconds"])) < ALIVE_SECONDS)

    def purpose(self) -> Purpose:
        """Return whether jobs here go to a trial's simulator or to real providers; an unset purpose counts as real."""
        with self._connection() as connection:
            return purpose.of(connection) or Purpose.REAL

    def ping(self) -> None:
        """Return if the database answers with a usable schema; raises as `Client` itself."""
        schema.check(self._engine)

    def database_facts(self) -> DatabaseFacts:
        """Return the database's version and schema, and its clock beside this machine's."""
        with self._connection() as connection:
            return database_facts(connection)
