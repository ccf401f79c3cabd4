"""Accounts: who a key is, what it may still spend, how often and how much at once it may ask."""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ops.simulator.clock import Clock
from ops.simulator.config import AccountConfig, SimulatorConfig, WireSettings, overlay

MINUTE = 60.0


@dataclass(slots=True)
class Account:
    """One key at one provider as it stands now; ``recent``: Unix times of the requests in its window."""

    terms: AccountConfig
    balance: Decimal
    requests_per_minute: int | None
    concurrency: int | None
    recent: deque[float] = field(default_factory=deque)
    in_flight: int = 0
    highest_in_flight: int = 0

    @property
    def key(self) -> str:
        """The API key, made up by whoever runs the simulator."""
        return self.terms.key

    def as_json(self) -> dict[str, Any]:
        """Return what ``/_sim/accounts`` shows."""
        return {
            "provider": self.terms.provider,
            "key": self.key,
            "balance": str(self.balance),
            "plan": self.terms.plan,
            "banned": self.terms.banned,
            "forbidden": self.terms.forbidden,
            "payment_required": self.terms.payment_required,
            "unlimited": self.terms.unlimited,
            "concurrency": self.concurrency,
            "requests_per_minute": self.requests_per_minute,
            "in_flight": self.in_flight,
            "highest_in_flight": self.highest_in_flight,
        }


class Accounts:
    """All accounts that were configured or have knocked."""

    def __init__(self, config: SimulatorConfig, settings: dict[str, WireSettings], clock: Clock) -> None:
        self._config = config
        self._settings = settings
        self._clock = clock
        self._known: dict[tuple[str, str], Account] = {}
        self.reset()

    def reset(self) -> None:
        """Put every account back to its configuration."""
        self._known = {(row.provider, row.key): self._open(row) for row in self._config.accounts}

    def find(self, provider: str, key: str | None) -> Account | None:
        """Return the account of ``key``, opening one if its prefix is right; else ``None``."""
        if not key:
            return None
        account = self._known.get((provider, key))
        if account is None and key.startswith(self._config.key_prefix):
            account = self._open(AccountConfig(provider=provider, key=key))
            self._known[provider, key] = account
        return account

    def all(self) -> list[Account]:
        """Return every account."""
        return list(self._known.values())

    def change(self, provider: str, key: str, changes: dict[str, Any]) -> Account:
        """Apply the fields of ``AccountConfig``, or ``add`` to top the balance up.

        Raises ``ValueError`` for a provider or field that does not exist.
        """
        if provider not in self._settings:
            raise ValueError(f"{provider} is not simulated; it knows {', '.join(sorted(self._settings))}")
        changes = dict(changes)
        extra = Decimal(str(changes.pop("add", 0)))
        before = self._known.get((provider, key)) or self._open(AccountConfig(provider=provider, key=key))
        terms = overlay(before.terms, changes, "account")
        after = self._open(terms)
        after.balance = (before.balance if changes.get("balance") is None else after.balance) + extra
        after.recent, after.in_flight, after.highest_in_flight = (
            before.recent,
            before.in_flight,
            before.highest_in_flight,
        )
        self._known[provider, key] = after
        return after

    def take_turn(self, account: Account) -> bool:
        """Count one request against the sliding minute; return whether it fits."""
        now, recent = self._clock.now(), account.recent
        horizon = now - self._clock.real(MINUTE)
        while recent and recent[0] <= horizon:
            recent.popleft()
        if account.requests_per_minute is not None and len(recent) >= account.requests_per_minute:
            return False
        recent.append(now)
        return True

    def window_ends(self, account: Account) -> float:
        """Return the Unix time at which the oldest request leaves the window."""
        oldest = account.recent[0] if account.recent else self._clock.now()
        return oldest + self._clock.real(MINUTE)

    def _open(self, terms: AccountConfig) -> Account:
        settings = self._settings.get(terms.provider)
        if settings is None:
            raise ValueError(
                f"accounts: {terms.provider} is not simulated; it knows {', '.join(sorted(self._settings))}"
            )
        limit, cap = terms.requests_per_minute, terms.concurrency
        return Account(
            terms=terms,
            balance=settings.balance if terms.balance is None else terms.balance,
            requests_per_minute=settings.requests_per_minute if limit is None else limit,
            concurrency=settings.concurrency if cap is None else cap,
        )
