"""Accounts: what workers know of them, their lock, and their pauses."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, text

from shared.settings import Window

_ENSURE = text("""
INSERT INTO account (name, provider, unit, concurrency, windows)
VALUES (:name, :provider, :unit, :concurrency, :windows) ON CONFLICT (name) DO NOTHING
""")
_REGISTER = text("""
INSERT INTO account (name, provider, unit, concurrency, windows, seen_at)
VALUES (:name, :provider, :unit, :concurrency, :windows, now())
ON CONFLICT (name) DO UPDATE SET provider = excluded.provider, unit = excluded.unit,
  concurrency = excluded.concurrency, windows = excluded.windows, seen_at = now()
""")
_LOCK = """
SELECT name, provider, concurrency, windows, turn,
  paused_at IS NOT NULL AS paused, paused_code,
  coalesce(extract(epoch FROM not_before - clock_timestamp()), 0) AS wait_seconds
FROM account WHERE name = :name FOR NO KEY UPDATE
"""
_LOCK_WAIT = text(_LOCK)
_LOCK_SKIP = text(_LOCK + " SKIP LOCKED")
_SLOW = text("""
UPDATE account SET not_before = greatest(not_before, clock_timestamp() + :seconds * interval '1 second')
WHERE name = :name
""")
_PAUSE = text("""
UPDATE account SET paused_at = clock_timestamp(), paused_code = :code, paused_reason = :reason, action_url = :action_url
WHERE name = :name AND paused_at IS NULL
""")
_DOUBT = text("UPDATE account SET doubts = doubts + 1 WHERE name = :name RETURNING doubts")
_TRUST = text("UPDATE account SET doubts = 0 WHERE name = :name AND doubts > 0")
_RESUME = text("""
UPDATE account SET doubts = 0, paused_at = NULL, paused_code = NULL, paused_reason = NULL, action_url = NULL,
  not_before = NULL
WHERE name = :name RETURNING name
""")
_SEEN = text("UPDATE account SET balance = :balance, notes = :notes, seen_at = now() WHERE name = :name")
_BALANCE = text("UPDATE account SET balance = :balance WHERE name = :name")
_LIST = text("""
SELECT name, provider, unit, balance, notes, concurrency, windows, paused_at, paused_code, paused_reason, action_url,
  not_before, seen_at
FROM account ORDER BY name
""")


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What a registration says of one account."""

    name: str
    provider: str
    unit: str
    concurrency: int
    windows: tuple[Window, ...]

    def parameters(self) -> dict[str, object]:
        """Return the row as statement parameters."""
        body = ",".join(window.model_dump_json() for window in self.windows)
        return {
            "name": self.name,
            "provider": self.provider,
            "unit": self.unit,
            "concurrency": self.concurrency,
            "windows": f"[{body}]",
        }


@dataclass(frozen=True, slots=True)
class LockedAccount:
    """An account whose row this transaction holds."""

    name: str
    provider: str
    concurrency: int
    windows: tuple[Window, ...]
    turn: int
    paused: bool
    paused_code: str | None
    wait_seconds: float

    @property
    def may_pay(self) -> bool:
        """Whether a new paid call may start now."""
        return not self.paused and self.wait_seconds <= 0


def ensure(connection: Connection, rows: Iterable[AccountRow]) -> None:
    """Make sure that the accounts exist, so that jobs can wait for them before any worker has run."""
    for row in sorted(rows, key=lambda row: row.name):  # one order for all, or two producers lock each other out
        connection.execute(_ENSURE, row.parameters())


def register(connection: Connection, rows: Iterable[AccountRow]) -> None:
    """Write the accounts as a worker's settings have them."""
    for row in sorted(rows, key=lambda row: row.name):
        connection.execute(_REGISTER, row.parameters())


def lock(connection: Connection, name: str, *, wait: bool) -> LockedAccount | None:
    """Lock the account's row for this transaction; None where it is missing, or held and `wait` is false."""
    row = connection.execute(_LOCK_WAIT if wait else _LOCK_SKIP, {"name": name}).mappings().one_or_none()
    if row is None:
        return None
    return LockedAccount(
        name=row["name"],
        provider=row["provider"],
        concurrency=row["concurrency"],
        windows=tuple(Window(**window) for window in row["windows"]),
        turn=row["turn"],
        paused=row["paused"],
        paused_code=row["paused_code"],
        wait_seconds=float(row["wait_seconds"]),
    )


def slow_down(connection: Connection, name: str, seconds: float) -> None:
    """Start no paid call of this account for `seconds`; an earlier, longer wait stays."""
    connection.execute(_SLOW, {"name": name, "seconds": seconds})


def pause(connection: Connection, name: str, *, code: str, reason: str, action_url: str | None) -> bool:
    """Stop new paid calls until a resume; False where it was paused already (its first reason stays)."""
    parameters = {"name": name, "code": code, "reason": reason, "action_url": action_url}
    return connection.execute(_PAUSE, parameters).rowcount == 1


def doubt(connection: Connection, name: str) -> int:
    """Count one more paid call in a row whose answer was lost or unreadable, and return how many there are."""
    return int(connection.execute(_DOUBT, {"name": name}).scalar_one())


def trust(connection: Connection, name: str) -> None:
    """Forget the count: the provider gave a plain answer."""
    connection.execute(_TRUST, {"name": name})


def resume(connection: Connection, name: str) -> bool:
    """Let paid calls start again; False where there is no such account."""
    return connection.execute(_RESUME, {"name": name}).one_or_none() is not None


def seen(connection: Connection, name: str, *, balance: Decimal | None, notes: str | None) -> None:
    """Record what a provider said of the account just now: what is left, in its unit, and anything odd."""
    connection.execute(_SEEN, {"name": name, "balance": balance, "notes": notes})


def has_left(connection: Connection, name: str, balance: Decimal) -> None:
    """Record what an answer to a paid call said is left."""
    connection.execute(_BALANCE, {"name": name, "balance": balance})


def listing(connection: Connection) -> list[dict[str, object]]:
    """Return every account as a worker last wrote it, by name."""
    return [dict(row) for row in connection.execute(_LIST).mappings()]
