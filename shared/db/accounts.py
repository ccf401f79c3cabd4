"""Accounts: what workers know of them, their lock, and their pauses."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from shared.settings import Window

_ENSURE = text("""
INSERT INTO account (name, provider, unit, concurrency, windows)
VALUES (:name, :provider, :unit, :concurrency, :windows) ON CONFLICT (name) DO NOTHING
""")
_REGISTER = text("""
INSERT INTO account (name, provider, unit, concurrency, windows, daily_cap, seen_at)
VALUES (:name, :provider, :unit, :concurrency, :windows, :daily_cap, now())
ON CONFLICT (name) DO UPDATE SET provider = excluded.provider, unit = excluded.unit,
  concurrency = excluded.concurrency, windows = excluded.windows, daily_cap = excluded.daily_cap, seen_at = now()
""")
_SERVED = text("UPDATE account SET seen_at = now() WHERE name = ANY(CAST(:names AS text[]))")
# Workers say so every minute.
_UNSERVED = text("SELECT name FROM account WHERE coalesce(seen_at < now() - interval '10 minutes', true)")
_LOCK = """
SELECT name, provider, unit, concurrency, ramp, windows, daily_cap, turn,
  paused_at IS NOT NULL AS paused, paused_code, coalesce(probe_at <= clock_timestamp(), false) AS probe_due, needs,
  coalesce(extract(epoch FROM not_before - clock_timestamp()), 0) AS wait_seconds
FROM account WHERE name = :name FOR NO KEY UPDATE
"""
_LOCK_WAIT = text(_LOCK)
_LOCK_SKIP = text(_LOCK + " SKIP LOCKED")
_SLOW = text("""
UPDATE account SET not_before = greatest(not_before, clock_timestamp() + :seconds * interval '1 second')
WHERE name = :name
""")
_NEXT_PROBE = "clock_timestamp() + least(:first * 2 ^ least(probes, 20), :most) * interval '1 second'"
_PAUSE = text(f"""
UPDATE account SET paused_at = clock_timestamp(), paused_code = :code, paused_reason = :reason,
  action_url = :action_url, needs = :needs, probe_at = {_NEXT_PROBE}
WHERE name = :name AND (paused_at IS NULL OR (probe_at IS NOT NULL AND CAST(:first AS double precision) IS NULL))
""")
_PROBE = text(f"""
UPDATE account SET probes = probes + 1, probe_at = {_NEXT_PROBE}
WHERE name = :name AND paused_at IS NOT NULL AND probe_at <= clock_timestamp() RETURNING paused_code, needs
""")
_DOUBT = text("UPDATE account SET doubts = doubts + 1 WHERE name = :name RETURNING doubts")
_TRUST = text("UPDATE account SET doubts = 0 WHERE name = :name AND doubts > 0")
_BOUGHT = text("""
UPDATE account SET doubts = 0, probes = 0, ramp = CASE WHEN ramp * 2 < concurrency THEN ramp * 2 END
WHERE name = :name AND (doubts > 0 OR probes > 0 OR ramp IS NOT NULL)
""")
# A pause that is over by itself is not quite trusted: one paid call at first, and one more doubt pauses it again.
_RESUME = text("""
UPDATE account SET doubts = CASE WHEN :by_hand THEN 0 ELSE greatest(doubts - 1, 0) END,
  probes = CASE WHEN :by_hand THEN 0 ELSE probes END, probe_at = NULL, needs = NULL,
  ramp = CASE WHEN paused_at IS NULL OR paused_code = 'paused_by_hand' THEN ramp ELSE 1 END,
  paused_at = NULL, paused_code = NULL, paused_reason = NULL, action_url = NULL, not_before = NULL
WHERE name = :name AND (:by_hand OR paused_code = :code) RETURNING name
""")
_SEEN = text("UPDATE account SET balance = :balance, notes = :notes, seen_at = now() WHERE name = :name")
_BALANCE = text("UPDATE account SET balance = :balance WHERE name = :name")
_LIST = text("""
SELECT name, provider, unit, balance, notes, concurrency, ramp, windows, daily_cap, paused_at, paused_code,
  paused_reason, action_url, probe_at, not_before, seen_at
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
    daily_cap: Decimal | None = None

    def parameters(self) -> dict[str, object]:
        """Return the row as statement parameters."""
        body = ",".join(window.model_dump_json() for window in self.windows)
        return {
            "name": self.name,
            "provider": self.provider,
            "unit": self.unit,
            "concurrency": self.concurrency,
            "windows": f"[{body}]",
            "daily_cap": self.daily_cap,
        }


@dataclass(frozen=True, slots=True)
class LockedAccount:
    """An account whose row this transaction holds."""

    name: str
    provider: str
    unit: str
    concurrency: int
    windows: tuple[Window, ...]
    daily_cap: Decimal | None
    turn: int
    paused: bool
    paused_code: str | None
    probe_due: bool
    needs: Decimal | None
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


def still_served(connection: Connection, names: Iterable[str]) -> None:
    """Record that a worker with these accounts' keys runs: new jobs are dealt to accounts that are served."""
    connection.execute(_SERVED, {"names": list(names)})


def unserved(connection: Connection) -> set[str]:
    """Return the accounts whose key no worker has had for ten minutes."""
    found: Any = connection.execute(_UNSERVED).scalars()
    return set(found)


def lock(connection: Connection, name: str, *, wait: bool) -> LockedAccount | None:
    """Lock the account's row for this transaction; None where it is missing, or held and `wait` is false."""
    row = connection.execute(_LOCK_WAIT if wait else _LOCK_SKIP, {"name": name}).mappings().one_or_none()
    if row is None:
        return None
    return LockedAccount(
        name=row["name"],
        provider=row["provider"],
        unit=row["unit"],
        concurrency=min(row["concurrency"], row["ramp"] or row["concurrency"]),
        windows=tuple(Window(**window) for window in row["windows"]),
        daily_cap=row["daily_cap"],
        turn=row["turn"],
        paused=row["paused"],
        paused_code=row["paused_code"],
        probe_due=row["probe_due"],
        needs=row["needs"],
        wait_seconds=float(row["wait_seconds"]),
    )


def slow_down(connection: Connection, name: str, seconds: float) -> None:
    """Start no paid call of this account for `seconds`; an earlier, longer wait stays."""
    connection.execute(_SLOW, {"name": name, "seconds": seconds})


@dataclass(frozen=True, slots=True)
class Probing:
    """How often a paused account is looked at by itself: after `first` seconds, then ever later, up to `most`."""

    first: float
    most: float


def pause(  # noqa: PLR0913 - the reason, and what would end it
    connection: Connection,
    name: str,
    *,
    code: str,
    reason: str,
    action_url: str | None,
    needs: Decimal | None = None,
    probing: Probing | None = None,
) -> bool:
    """Stop new paid calls until a resume; False where it was paused already.

    The first reason stays, but one that only a person can end takes the place of one that may pass. With `probing`
    workers look by themselves whether the reason is gone; `needs` is the price that was refused.
    """
    parameters = {"name": name, "code": code, "reason": reason, "action_url": action_url, "needs": needs}
    times = {"first": probing.first if probing else None, "most": probing.most if probing else None}
    return connection.execute(_PAUSE, {**parameters, **times}).rowcount == 1


@dataclass(frozen=True, slots=True)
class Probe:
    """A paused account that this worker, and no other, may look at now."""

    code: str
    needs: Decimal | None


def probe(connection: Connection, name: str, probing: Probing) -> Probe | None:
    """Take the account's look if it is due, and set the time of the next; None where it is not."""
    parameters = {"name": name, "first": probing.first, "most": probing.most}
    row = connection.execute(_PROBE, parameters).one_or_none()
    return Probe(row.paused_code, row.needs) if row else None


def doubt(connection: Connection, name: str) -> int:
    """Count one more paid call in a row whose answer was lost or unreadable, and return how many there are."""
    return int(connection.execute(_DOUBT, {"name": name}).scalar_one())


def trust(connection: Connection, name: str, *, bought: bool) -> None:
    """Forget the count: the provider gave a plain answer. After a purchase, twice as many calls may be in the air."""
    connection.execute(_BOUGHT if bought else _TRUST, {"name": name})


def resume(connection: Connection, name: str, *, ended: str | None = None) -> bool:
    """Let paid calls start again, one at first after any pause but one by hand; False where there is no such account.

    By hand whatever paused it; by a look, only where the pause that has `ended` is still the one in force.
    """
    parameters = {"name": name, "by_hand": ended is None, "code": ended}
    return connection.execute(_RESUME, parameters).one_or_none() is not None


def seen(connection: Connection, name: str, *, balance: Decimal | None, notes: str | None) -> None:
    """Record what a provider said of the account just now: what is left, in its unit, and anything odd."""
    connection.execute(_SEEN, {"name": name, "balance": balance, "notes": notes})


def has_left(connection: Connection, name: str, balance: Decimal) -> None:
    """Record what an answer to a paid call said is left."""
    connection.execute(_BALANCE, {"name": name, "balance": balance})


def listing(connection: Connection) -> list[dict[str, object]]:
    """Return every account as a worker last wrote it, by name."""
    return [dict(row) for row in connection.execute(_LIST).mappings()]
