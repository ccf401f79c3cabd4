"""Accounts: who a key is, what it may still spend, how often and how much at once it may ask."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ops.simulator.clock import SimulatedClock
from ops.simulator.config import AccountConfig, SimulatorConfig
from ops.simulator.settings import SimulatedWireSettings, overlay
from ops.simulator.windows import SimulatedWindow

_MINUTE, _HOUR = 60.0, 3600.0
_GENERATIONS = "generations"


@dataclass(slots=True)
class SimulatedAccount:
    """One key at one provider as it stands now.

    ``held`` is the part of the balance that replies under way may still cost.
    """

    terms: AccountConfig
    balance: Decimal
    concurrency: int | None
    windows: dict[str, SimulatedWindow]
    held: Decimal = field(default_factory=Decimal)
    in_flight: int = 0
    highest_in_flight: int = 0

    @property
    def key(self) -> str:
        """The API key, made up by whoever runs the simulator."""
        return self.terms.key

    def limit_of(self, window: str) -> int | None:
        """Return the limit of the "minute", "hour" or "generations" window, ``None`` without one."""
        return self.windows[window].limit if window in self.windows else None

    def as_json(self) -> dict[str, Any]:
        """Return what ``/_sim/accounts`` shows."""
        return {
            "provider": self.terms.provider,
            "key": self.key,
            "balance": str(self.balance),
            "held": str(self.held),
            "spending_limit": None if self.terms.spending_limit is None else str(self.terms.spending_limit),
            "plan": self.terms.plan,
            "banned": self.terms.banned,
            "forbidden": self.terms.forbidden,
            "payment_required": self.terms.payment_required,
            "unlimited": self.terms.unlimited,
            "concurrency": self.concurrency,
            "requests_per_minute": self.limit_of("minute"),
            "requests_per_hour": self.limit_of("hour"),
            "generations_per_hour": self.limit_of(_GENERATIONS),
            "in_flight": self.in_flight,
            "highest_in_flight": self.highest_in_flight,
        }


class Accounts:
    """All accounts that were configured or have knocked."""

    def __init__(
        self, config: SimulatorConfig, settings: dict[str, SimulatedWireSettings], clock: SimulatedClock
    ) -> None:
        self._config = config
        self._settings = settings
        self._clock = clock
        self._known: dict[tuple[str, str], SimulatedAccount] = {}
        self.reset()

    def reset(self) -> None:
        """Put every account back to its configuration."""
        self._known = {(row.provider, row.key): self._open(row) for row in self._config.accounts}

    def follow(self, settings: dict[str, SimulatedWireSettings]) -> None:
        """Open accounts by these settings from now on; those that are open keep their terms."""
        self._settings = settings

    def find(self, provider: str, key: str | None) -> SimulatedAccount | None:
        """Return the account of ``key``, opening one if its prefix is right; else ``None``."""
        if not key:
            return None
        account = self._known.get((provider, key))
        if account is None and key.startswith(self._config.key_prefix):
            account = self._open(AccountConfig(provider=provider, key=key))
            self._known[provider, key] = account
        return account

    def all(self) -> list[SimulatedAccount]:
        """Return every account."""
        return list(self._known.values())

    def change(self, provider: str, key: str, changes: dict[str, Any]) -> SimulatedAccount:
        """Apply the fields of ``AccountConfig``, or ``add`` to top the balance up.

        Raises ``ValueError`` for a provider or field that does not exist.
        """
        if provider not in self._settings:
            raise ValueError(f"{provider} is not simulated; it knows {', '.join(sorted(self._settings))}")
        changes = dict(changes)
        extra = Decimal(str(changes.pop("add", 0)))
        # Changed in place: requests under way hold on to it, and what they will yet spend must come off this balance.
        account = self._known.get((provider, key)) or self._open(AccountConfig(provider=provider, key=key))
        renewed = self._open(overlay(account.terms, changes, "account"))
        account.terms, account.concurrency = renewed.terms, renewed.concurrency
        account.balance = (account.balance if changes.get("balance") is None else renewed.balance) + extra
        for name, window in renewed.windows.items():
            if name in account.windows:
                window.recent = account.windows[name].recent
        account.windows = renewed.windows
        self._known[provider, key] = account
        return account

    def take_turn(self, account: SimulatedAccount, *, generation: bool = False) -> SimulatedWindow | None:
        """Count one request against its windows; return the one that is full, if any: then none has counted."""
        now, windows = self._clock.now(), _counting(account, generation=generation)
        for window in windows:
            if not window.remaining(now):
                return window
        for window in windows:
            window.recent.append(now)
        return None

    def tightest(self, account: SimulatedAccount, *, generation: bool = False) -> SimulatedWindow | None:
        """Return the window in which the fewest requests remain, ``None`` if the account has none."""
        now = self._clock.now()
        windows = _counting(account, generation=generation)
        return min(windows, key=lambda window: window.remaining(now), default=None)

    def _open(self, terms: AccountConfig) -> SimulatedAccount:
        settings = self._settings.get(terms.provider)
        if settings is None:
            raise ValueError(
                f"accounts: {terms.provider} is not simulated; it knows {', '.join(sorted(self._settings))}"
            )
        cap = terms.concurrency
        return SimulatedAccount(
            terms=terms,
            balance=settings.balance if terms.balance is None else terms.balance,
            concurrency=settings.concurrency if cap is None else cap,
            windows=self._windows(terms, settings),
        )

    def _windows(self, terms: AccountConfig, settings: SimulatedWireSettings) -> dict[str, SimulatedWindow]:
        rows = (
            ("minute", terms.requests_per_minute, settings.requests_per_minute, _MINUTE),
            ("hour", terms.requests_per_hour, settings.requests_per_hour, _HOUR),
            (_GENERATIONS, terms.generations_per_hour, settings.generations_per_hour, _HOUR),
        )
        limits = [(name, usual if own is None else own, seconds) for name, own, usual, seconds in rows]
        return {
            name: SimulatedWindow(name, limit, self._clock.real(seconds))
            for name, limit, seconds in limits
            if limit is not None
        }


def _counting(account: SimulatedAccount, *, generation: bool) -> list[SimulatedWindow]:
    return [window for name, window in account.windows.items() if generation or name != _GENERATIONS]
