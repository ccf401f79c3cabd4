"""Accounts: their settings, their lock, and what providers say of them. `pauses` has what stops one."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from shared.account_settings import RateWindow
from shared.backoff import LONGEST_WAIT_SECONDS

_ENSURE = text("""
INSERT INTO account (name, provider, unit, concurrency, windows)
VALUES (:name, :provider, :unit, :concurrency, :windows) ON CONFLICT (name) DO NOTHING
""")
_REGISTER = text("""
INSERT INTO account (name, provider, unit, concurrency, windows, daily_cap, terms, seen_at)
VALUES (:name, :provider, :unit, :concurrency, :windows, :daily_cap, CAST(:terms AS jsonb), now())
ON CONFLICT (name) DO UPDATE SET provider = excluded.provider, unit = excluded.unit,
  concurrency = excluded.concurrency, windows = excluded.windows, daily_cap = excluded.daily_cap,
  terms = excluded.terms, seen_at = now()
""")
_SERVED = text("UPDATE account SET seen_at = now() WHERE name = ANY(CAST(:names AS text[]))")
# Workers say so every minute.
_UNSERVED = text("SELECT name FROM account WHERE coalesce(seen_at < now() - interval '10 minutes', true)")
_LOCK = """
SELECT name, provider, unit, concurrency, slow_start_limit, windows, daily_cap, fair_position, probes,
  paused_at IS NOT NULL AS paused, paused_code, balance_needed,
  coalesce(extract(epoch FROM not_before - clock_timestamp()), 0) AS wait_seconds
FROM account WHERE name = :name FOR NO KEY UPDATE
"""
_LOCK_WAIT = text(_LOCK)
_LOCK_SKIP = text(_LOCK + " SKIP LOCKED")
_SLOW = text("""
UPDATE account SET
  not_before = greatest(not_before, clock_timestamp() + least(greatest(:seconds, 0), :most) * interval '1 second')
WHERE name = :name
""")
_SEEN = text("UPDATE account SET balance = :balance, notes = :notes, seen_at = now() WHERE name = :name")
_BALANCE = text("UPDATE account SET balance = :balance WHERE name = :name")
_LIST = text("""
SELECT name, provider, unit, balance, notes, concurrency, slow_start_limit, windows, daily_cap, paused_at, paused_code,
  paused_reason, action_url, probe_at, not_before, seen_at
FROM account ORDER BY name
""")


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """The terms on which an account buys: its own prices by model, a brand or none, and at unknown prices or not."""

    prices: Mapping[str, Decimal]
    has_brand: bool
    allow_unknown_price: bool

    def document(self) -> str:
        """Return them as the database keeps them."""
        prices = {model: str(price) for model, price in self.prices.items()}
        others = {"has_brand": self.has_brand, "allow_unknown_price": self.allow_unknown_price}
        return json.dumps({"prices": prices, **others})


@dataclass(frozen=True, slots=True)
class AccountRow:
    """The part of one account that a registration writes."""

    name: str
    provider: str
    unit: str
    concurrency: int
    windows: tuple[RateWindow, ...]
    daily_cap: Decimal | None = None
    terms: AccountTerms | None = None
    """For plans; None: whoever registers it does not know them."""

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
            "terms": self.terms and self.terms.document(),
        }


@dataclass(frozen=True, slots=True)
class LockedAccount:
    """An account whose row this transaction holds."""

    name: str
    provider: str
    unit: str
    concurrency: int
    windows: tuple[RateWindow, ...]
    daily_cap: Decimal | None
    fair_position: int
    paused: bool
    paused_code: str | None
    balance_needed: Decimal | None
    wait_seconds: float
    probing: bool = False
    """Whether its next paid call tests if a pause is over: one at a time, until one is answered."""

    @property
    def may_pay(self) -> bool:
        """Whether a new paid call may start now."""
        return not self.paused and self.wait_seconds <= 0


def ensure(connection: Connection, rows: Iterable[AccountRow]) -> None:
    """Make sure that the accounts exist, so that jobs can wait for them before any worker has run."""
    for row in sorted(rows, key=lambda row: row.name):  # the same order for all, or two producers deadlock
        connection.execute(_ENSURE, row.parameters())


def register(connection: Connection, rows: Iterable[AccountRow]) -> None:
    """Write the accounts from a worker's settings."""
    for row in sorted(rows, key=lambda row: row.name):
        connection.execute(_REGISTER, row.parameters())


def mark_served(connection: Connection, names: Iterable[str]) -> None:
    """Record that a worker with these accounts' keys runs. New jobs go to served accounts."""
    connection.execute(_SERVED, {"names": list(names)})


def unserved(connection: Connection) -> set[str]:
    """Return the accounts whose key no worker has had for ten minutes."""
    found: Any = connection.execute(_UNSERVED).scalars()
    return set(found)


def lock(connection: Connection, name: str, *, wait: bool) -> LockedAccount | None:
    """Lock the account's row for this transaction; None if it is missing, or if it is held and `wait` is false."""
    row = connection.execute(_LOCK_WAIT if wait else _LOCK_SKIP, {"name": name}).mappings().one_or_none()
    if row is None:
        return None
    return LockedAccount(
        name=row["name"],
        provider=row["provider"],
        unit=row["unit"],
        concurrency=min(row["concurrency"], row["slow_start_limit"] or row["concurrency"]),
        windows=tuple(RateWindow(**window) for window in row["windows"]),
        daily_cap=row["daily_cap"],
        fair_position=row["fair_position"],
        paused=row["paused"],
        paused_code=row["paused_code"],
        balance_needed=row["balance_needed"],
        wait_seconds=float(row["wait_seconds"]),
        probing=row["slow_start_limit"] == 1 and row["probes"] > 0,
    )


def slow_down(connection: Connection, name: str, seconds: float) -> None:
    """Start no paid call of this account for `seconds`, at most a day. An earlier, longer wait stays."""
    connection.execute(_SLOW, {"name": name, "seconds": seconds, "most": LONGEST_WAIT_SECONDS})


def record_survey(connection: Connection, name: str, *, balance: Decimal | None, notes: str | None) -> None:
    """Record what a provider said about the account: its balance, in its unit, and anything odd."""
    connection.execute(_SEEN, {"name": name, "balance": balance, "notes": notes})


def record_balance(connection: Connection, name: str, balance: Decimal) -> None:
    """Record the balance that an answer to a paid call stated."""
    connection.execute(_BALANCE, {"name": name, "balance": balance})


def listing(connection: Connection) -> list[dict[str, object]]:
    """Return every account as a worker last wrote it, by name."""
    return [dict(row) for row in connection.execute(_LIST).mappings()]
