"""The purpose of a database: a trial, whose jobs go to the simulator, or real work. Never both.

The first process that knows the purpose records it, before anything can be paid for. It never changes. If an older
genqueue's trial left jobs in a real database, they are held at that moment (`shared/db/jobs/leftovers.py`).
"""

from enum import StrEnum

from sqlalchemy import Connection, text

from shared.db.jobs import leftovers

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('purpose', 0))")
_EXISTS = text("SELECT to_regclass('purpose') IS NOT NULL")
_READ = text("SELECT kind FROM purpose")
_WRITE = text("INSERT INTO purpose (kind) VALUES (:kind)")


class Purpose(StrEnum):
    """The purpose of a database; commands print the name."""

    TRIAL = "trial"
    """Its jobs go to the simulator; no real money is paid."""

    REAL = "real"
    """Its jobs go to the providers and cost money."""

    @property
    def label(self) -> str:
        """How commands say it."""
        return self.value.upper()


class PurposeError(Exception):
    """A trial's process met a real database, or the other way round; the message says what to do."""

    def __init__(self, wanted: Purpose) -> None:
        if wanted is Purpose.TRIAL:
            super().__init__("this database holds real jobs, and a trial may not touch them: unset GENQUEUE_TRIAL")
        else:
            super().__init__(
                "this database belongs to a trial: its jobs were meant for the simulator, and real accounts must not "
                "pay for them; use another GENQUEUE_DATABASE_URL or GENQUEUE_HOME"
            )


def of(connection: Connection) -> Purpose | None:
    """Return the purpose of the database; None if no worker and no home has recorded it yet."""
    if not connection.execute(_EXISTS).scalar_one():
        return None
    kind = connection.execute(_READ).scalar_one_or_none()
    return Purpose(kind) if kind else None


def settle(connection: Connection, wanted: Purpose, *, simulator_was_here: bool = False) -> int:
    """Record the purpose of the database if it has none; raises `PurposeError` if it has the other purpose.

    `simulator_was_here`: an older genqueue's trial used its home. Unfinished jobs of such a trial are held; returns
    their number.
    """
    held = 0
    found = of(connection)
    if found is None:
        connection.execute(_LOCK)
        found = of(connection)
    if found is None:
        if wanted is Purpose.REAL:
            held = leftovers.hold(connection, simulator_was_here=simulator_was_here)
        connection.execute(_WRITE, {"kind": wanted.value})
        found = wanted
    if found is not wanted:
        raise PurposeError(wanted)
    return held
