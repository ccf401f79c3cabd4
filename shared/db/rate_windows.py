"""Exact sliding rate windows: one row for each request to a provider, written under the account's lock."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from shared.account_settings import RateWindow
from shared.db import accounts
from shared.wait_facts import WindowUse

MARGIN = 0.02
"""Windows are kept this much longer, because a request reaches the provider later than its place was taken."""
POLL_SHARE: Final = 0.25
"""The share of the smallest window of all requests that paid calls leave to polls."""

_USED = text("""
SELECT count(*),
  extract(epoch FROM (array_agg(taken_at ORDER BY taken_at))[greatest(count(*) - :limit + 1, 1)]
    + :seconds * interval '1 second' - clock_timestamp())
FROM request_slot WHERE account = :account AND taken_at > clock_timestamp() - :seconds * interval '1 second'
  AND (CAST(:kind AS text) IS NULL OR kind = :kind)
""")
_TAKE = text("INSERT INTO request_slot (account, kind) SELECT :account, :kind FROM generate_series(1, :count)")
_PRUNE = text("""
DELETE FROM request_slot WHERE account = :account AND taken_at < clock_timestamp() - :seconds * interval '1 second'
""")
# `kept` as the dispatcher keeps it. The request that must leave first is found among those in the window, oldest first.
_USAGE = text("""
SELECT name, requests, seconds, scope, kept, used, CASE WHEN used >= requests - kept
  THEN taken[used - (requests - kept) + 1] + seconds * :margin * interval '1 second' END AS free_at
FROM account CROSS JOIN LATERAL (
  SELECT requests, seconds, scope, CASE WHEN scope = 'all' AND provider = ANY(CAST(:polled AS text[]))
    THEN CAST(floor(min(requests) FILTER (WHERE scope = 'all') OVER () * :share) AS integer) ELSE 0 END AS kept
  FROM (SELECT requests, seconds, coalesce(scope, 'all') AS scope
    FROM jsonb_to_recordset(windows) AS w (requests integer, seconds double precision, scope text)) AS listed
) AS a_window CROSS JOIN LATERAL (
  SELECT CAST(count(*) AS integer) AS used, array_agg(taken_at ORDER BY taken_at) AS taken FROM request_slot
  WHERE account = name AND taken_at > clock_timestamp() - seconds * :margin * interval '1 second'
    AND (scope = 'all' OR kind = 'submit')
) AS slots
""")


@dataclass(frozen=True, slots=True)
class Room:
    """How many requests the windows allow now, and after how many seconds the next becomes free."""

    free: int
    wait_seconds: float


_UNBOUNDED = 1_000_000


def room(connection: Connection, account: str, windows: Iterable[RateWindow], *, paying: bool = True) -> Room:
    """Return what is left in the tightest window of `account`; the caller holds the account's lock.

    Windows that count only paid calls apply only with `paying`.
    """
    free, wait = _UNBOUNDED, 0.0
    for window in windows:
        if window.scope == "submit" and not paying:
            continue
        seconds = window.seconds * (1 + MARGIN)
        used, frees_in = connection.execute(
            _USED,
            {
                "account": account,
                "seconds": seconds,
                "limit": window.requests,
                "kind": "submit" if window.scope == "submit" else None,
            },
        ).one()
        free = min(free, max(window.requests - used, 0))
        if used >= window.requests:
            wait = max(wait, float(frees_in or 0))
    return Room(free, wait)


def take(connection: Connection, account: str, kind: str, count: int) -> None:
    """Record `count` requests about to be sent; the caller holds the account's lock and saw room."""
    if count:
        connection.execute(_TAKE, {"account": account, "kind": kind, "count": count})


def grant(connection: Connection, account: str, kind: str, wanted: int) -> tuple[int, float]:
    """Take room for up to `wanted` requests under the account's lock: for how many, and seconds until there is more."""
    locked = accounts.lock(connection, account, wait=True)
    if locked is None:
        return 0, 30.0
    space = room(connection, account, locked.windows, paying=kind == "submit")
    granted = min(wanted, space.free)
    take(connection, account, kind, granted)
    return granted, max(space.wait_seconds, 0.1)


def usage(connection: Connection, *, polled: Iterable[str]) -> dict[str, tuple[WindowUse, ...]]:
    """Return by account how full each rate window is: a look without a lock, for people.

    The providers in `polled` are asked again; their accounts leave a part of each window to that.
    """
    found: dict[str, tuple[WindowUse, ...]] = {}
    parameters = {"margin": 1 + MARGIN, "share": POLL_SHARE, "polled": list(polled)}
    for row in connection.execute(_USAGE, parameters):
        window = RateWindow(requests=row.requests, seconds=row.seconds, scope=row.scope)
        use = WindowUse(window, row.used, row.kept, row.free_at)
        found[row.name] = (*found.get(row.name, ()), use)
    return found


def prune(connection: Connection, account: str, windows: Iterable[RateWindow]) -> None:
    """Delete the requests that no window covers any more."""
    longest = max((window.seconds for window in windows), default=0.0)
    connection.execute(_PRUNE, {"account": account, "seconds": longest * (1 + MARGIN) + 60})
