"""Exact sliding rate windows: a row for each upstream request, taken under the account's lock."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from shared.db import accounts
from shared.settings import Window

MARGIN = 0.02
"""Windows are kept this much longer than asked: a request reaches the provider later than its slot was taken."""

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


@dataclass(frozen=True, slots=True)
class Room:
    """How many requests the windows allow now, and after how many seconds the next becomes free."""

    free: int
    wait_seconds: float


_UNBOUNDED = 1_000_000


def room(connection: Connection, account: str, windows: Iterable[Window], *, paying: bool = True) -> Room:
    """Return what is left in the tightest window of `account`; the caller holds the account's lock.

    Windows that count only paid calls bind only where `paying`.
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
    """Take up to `wanted` slots under the account's lock: how many there were, and seconds until the next is free."""
    locked = accounts.lock(connection, account, wait=True)
    if locked is None:
        return 0, 30.0
    space = room(connection, account, locked.windows, paying=kind == "submit")
    granted = min(wanted, space.free)
    take(connection, account, kind, granted)
    return granted, max(space.wait_seconds, 0.1)


def prune(connection: Connection, account: str, windows: Iterable[Window]) -> None:
    """Forget the requests that no window looks at any more."""
    longest = max((window.seconds for window in windows), default=0.0)
    connection.execute(_PRUNE, {"account": account, "seconds": longest * (1 + MARGIN) + 60})
