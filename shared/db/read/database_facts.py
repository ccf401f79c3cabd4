"""What the server says of itself: its version, the schema's revision, and its clock beside ours."""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, text

from shared.db.schema import current_revision

_CLOCK = text("SELECT current_setting('server_version') AS version, extract(epoch FROM clock_timestamp()) AS now")


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The server's version and schema revision, and by how many seconds the server's clock is ahead of ours."""

    version: str
    revision: str
    clock_skew_seconds: float


def database_facts(connection: Connection) -> DatabaseFacts:
    """Ask the server; half of the round trip is taken off the clocks' difference."""
    revision = current_revision(connection) or "none"
    before = time.time()
    row = connection.execute(_CLOCK).one()
    middle = (before + time.time()) / 2
    return DatabaseFacts(row.version, revision, float(row.now) - middle)
