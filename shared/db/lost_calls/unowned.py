"""Unowned images: images in a provider's own list that no submission of ours owns, as the sweep found them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

# From the end of the last search; the first search begins at the account's first call.
_BEGIN = text("""
UPDATE account SET sweep_at = clock_timestamp() + :every * interval '1 second'
WHERE name = :account AND coalesce(sweep_at <= clock_timestamp(), true)
RETURNING coalesce(swept_until, (SELECT min(opened_at) FROM submission WHERE account = :account)) AS since,
  clock_timestamp() - :quiet * interval '1 second' AS until
""")
_END = text("UPDATE account SET swept_until = :until WHERE name = :account")
_REPORT = text("""
INSERT INTO unowned_image (account, upstream_id, made_at, note)
VALUES (:account, :upstream_id, coalesce(CAST(:made_at AS timestamptz), clock_timestamp()), :note)
ON CONFLICT DO NOTHING
""")
_KNOWN = text("SELECT upstream_id FROM unowned_image WHERE account = :account")
# An image that was adopted since is no longer unowned, in whatever case its id is spelled.
_TAKEN = """EXISTS (SELECT 1 FROM image i WHERE i.account = unowned_image.account
  AND i.upstream_id = {spelled} AND i.state IN ('stored', 'upstream_only', 'failed'))"""
_SPELLED = ("unowned_image.upstream_id", "lower(unowned_image.upstream_id)", "upper(unowned_image.upstream_id)")
_FREE = " AND ".join("NOT " + _TAKEN.format(spelled=one) for one in _SPELLED)
_LIST = text(f"""
SELECT account, upstream_id, made_at, found_at, note FROM unowned_image WHERE {_FREE} ORDER BY made_at
""")


@dataclass(frozen=True, slots=True)
class SweepSpan:
    """What one search covers: pictures made from `since` to `until`."""

    since: datetime
    until: datetime


def begin(connection: Connection, account: str, *, every_seconds: float, quiet_seconds: float) -> SweepSpan | None:
    """Take the account's search if it is due; None if it is not, or if nothing was ever sent.

    Images younger than `quiet_seconds` are left to the next search: they may belong to a call in the air.
    """
    times = {"every": every_seconds, "quiet": quiet_seconds}
    row = connection.execute(_BEGIN, {"account": account, **times}).one_or_none()
    if row is None or row.since is None or row.since >= row.until:
        return None
    return SweepSpan(row.since, row.until)


def end(connection: Connection, account: str, span: SweepSpan) -> None:
    """Record how far a search has come."""
    connection.execute(_END, {"account": account, "until": span.until})


def report(connection: Connection, account: str, upstream_id: str, *, made_at: datetime | None, note: str) -> None:
    """Record one unowned image; repeating it does no harm. Without `made_at` it counts as made now."""
    parameters = {"account": account, "upstream_id": upstream_id, "made_at": made_at, "note": note}
    connection.execute(_REPORT, parameters)


def known(connection: Connection, account: str) -> set[str]:
    """Return the recorded ids."""
    found: Any = connection.execute(_KNOWN, {"account": account}).scalars()
    return set(found)


def listing(connection: Connection) -> list[dict[str, object]]:
    """Return every unowned image, the oldest first."""
    return [dict(row) for row in connection.execute(_LIST).mappings()]
