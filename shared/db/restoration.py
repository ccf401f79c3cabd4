"""A restored or failed-over database that lacks rows: found by a mark that is kept outside it.

The mark names the newest ledger line. A database that has not come as far has lost rows, but no purchase is undone by
that. Its accounts pause, and their providers' lists are searched, until a person ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db import pauses

CODE: Final = "database_restored"
COMMAND: Final = "genqueue resume --after-restore"
_MAKE: Final = text("INSERT INTO high_water DEFAULT VALUES ON CONFLICT DO NOTHING")
_LINEAGE: Final = text("SELECT lineage FROM high_water")
_NEWEST: Final = text("""
SELECT h.lineage, l.id AS line, l.at, clock_timestamp() AS noted_at
FROM high_water h CROSS JOIN LATERAL (SELECT id, at FROM ledger ORDER BY id DESC LIMIT 1) l
""")
# A line leaves the ledger when it is old. What was noted here stays.
_HAS: Final = text("""
SELECT EXISTS (SELECT FROM ledger WHERE id = :line AND at = :at) OR EXISTS (SELECT FROM high_water WHERE line >= :line)
  OR EXISTS (SELECT FROM restoration WHERE found_at > :noted_at)
""")
_NOTE: Final = text("UPDATE high_water SET line = :line WHERE line < :line")
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('restoration', 0))")
_OPEN: Final = text("SELECT id, found_at, has_until, lacks_until FROM restoration WHERE ended_at IS NULL")
_FOUND: Final = text("""
INSERT INTO restoration (has_until, lacks_until) VALUES ((SELECT at FROM ledger ORDER BY id DESC LIMIT 1), :at)
""")
_SEARCH_NOW: Final = text("UPDATE account SET sweep_at = NULL")
_NAMES: Final = text("SELECT name FROM account WHERE paused_code IS DISTINCT FROM :code ORDER BY name")
_PAUSED: Final = text("SELECT name FROM account WHERE paused_code = :code ORDER BY name")
_END: Final = text("UPDATE restoration SET ended_at = clock_timestamp() WHERE ended_at IS NULL RETURNING id")
# A job on hold waits too: it is bought when its batch is released, or when its cap has room again.
_ACCOUNTS: Final = text("""
SELECT a.name AS account, a.provider, a.swept_until, coalesce(a.swept_until >= :lacks, false) AS searched,
  (SELECT count(*) FROM unowned_image u WHERE u.account = a.name AND u.made_at >= coalesce(:has, u.made_at)) AS unowned,
  EXISTS (SELECT FROM job j WHERE j.account = a.name AND j.state = 'queued' AND j.created_at <= :found) AS waiting
FROM account a ORDER BY a.name
""")

_STATES: Final = text("""
SELECT j.id, b.name AS batch, j.custom_id, j.state FROM job j JOIN batch b ON b.id = j.batch_id
WHERE j.id = ANY(CAST(:ids AS uuid[])) ORDER BY j.id
""")


class Mark(NamedTuple):
    """How far a database had come: its newest ledger line, when that was written, and when it was noted."""

    lineage: UUID
    line: int
    at: datetime
    noted_at: datetime

    def document(self) -> dict[str, Any]:
        """Return the mark as JSON has it."""
        return {"lineage": str(self.lineage), "line": self.line, "at": str(self.at), "noted_at": str(self.noted_at)}

    @classmethod
    def of(cls, document: Any) -> Self:
        """Read a mark. Raises `ValueError`, `KeyError` or `TypeError` where it is none."""
        at, noted_at = (datetime.fromisoformat(document[name]) for name in ("at", "noted_at"))
        return cls(UUID(document["lineage"]), int(document["line"]), at, noted_at)


@dataclass(frozen=True, slots=True)
class Restoration:
    """A loss of rows that no person has ended yet. `has_until` is None if no ledger line is left."""

    found_at: datetime
    has_until: datetime | None
    lacks_until: datetime

    @property
    def words(self) -> str:
        """What was found."""
        since = f"{self.has_until:%Y-%m-%d %H:%M:%S}" if self.has_until else "its beginning"
        return f"the database was restored: it lacks what was written from {since} to {self.lacks_until:%H:%M:%S} UTC"


def lineage(connection: Connection) -> UUID:
    """Return what every copy of this database has in common, and no other database has."""
    connection.execute(_MAKE)
    found: UUID = connection.execute(_LINEAGE).scalar_one()
    return found


def newest(connection: Connection) -> Mark | None:
    """Return the mark to be noted now; None if nothing was ever reserved."""
    row = connection.execute(_NEWEST).one_or_none()
    return Mark(*row) if row else None


def note(connection: Connection, mark: Mark) -> None:
    """Record that `mark` is about to be written outside."""
    connection.execute(_NOTE, {"line": mark.line})


def compare(connection: Connection, *marks: Mark) -> Restoration | None:
    """Return the open restoration, if there is one or if a mark names what this database lacks.

    A restoration pauses every account, also an account that is added later, and their lists are searched at once.
    """
    for mark in marks:
        if not connection.execute(_HAS, mark._asdict()).scalar_one():
            connection.execute(_LOCK)
            _find(connection, mark)
    found = current(connection)
    if found is not None:
        _pause(connection, found)
    return found


def current(connection: Connection) -> Restoration | None:
    """Return the restoration that no person has ended yet."""
    row = connection.execute(_OPEN).one_or_none()
    return Restoration(row.found_at, row.has_until, row.lacks_until) if row else None


def accounts_of(connection: Connection, restoration: Restoration) -> list[dict[str, Any]]:
    """Return by account how far its list was searched, how many unowned images that time has, and whether jobs wait."""
    times = {"has": restoration.has_until, "lacks": restoration.lacks_until, "found": restoration.found_at}
    return [dict(row) for row in connection.execute(_ACCOUNTS, times).mappings()]


def states_of(connection: Connection, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Return what these jobs are now, for those that this database has."""
    return [dict(row) for row in connection.execute(_STATES, {"ids": list(ids)}).mappings()]


def end(connection: Connection) -> int:
    """End the restoration: the accounts that it paused take jobs again. Returns their number."""
    connection.execute(_END)
    names: Any = connection.execute(_PAUSED, {"code": CODE}).scalars()
    return sum(pauses.resume(connection, name) for name in list(names))


def _find(connection: Connection, mark: Mark) -> None:
    """Record the loss once: whoever waited for the lock finds it, and other marks of the same loss add nothing."""
    if not connection.execute(_HAS, mark._asdict()).scalar_one():
        connection.execute(_FOUND, {"at": mark.at})
        connection.execute(_SEARCH_NOW)


def _pause(connection: Connection, found: Restoration) -> None:
    names: Any = connection.execute(_NAMES, {"code": CODE}).scalars()
    for name in list(names):
        pauses.pause(connection, name, code=CODE, reason=found.words, action_url=None)
