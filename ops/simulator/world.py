"""Everything that the wires of one simulator share."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from ops.simulator.accounts import Accounts, SimulatedAccount
from ops.simulator.bill import Bill, BillLine
from ops.simulator.clock import SimulatedClock
from ops.simulator.config import SimulatorConfig
from ops.simulator.exchange import Exchange
from ops.simulator.faults import FaultPlan
from ops.simulator.gallery import Gallery
from ops.simulator.journal import Journal
from ops.simulator.links import Signer
from ops.simulator.sale import Charge, Sale
from ops.simulator.settings import SimulatedWireSettings, overlay


@dataclass(slots=True)
class World:
    """The shared parts; all are touched by the server's event loop alone.

    ``config`` is what holds now, ``initial`` what it was started with.
    """

    config: SimulatorConfig
    initial: SimulatorConfig
    clock: SimulatedClock
    accounts: Accounts
    bill: Bill
    journal: Journal
    faults: FaultPlan
    gallery: Gallery
    links: Signer
    _seen: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _started: float = 0.0
    _changed: dict[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def create(cls, config: SimulatorConfig) -> "World":
        """Build the parts that ``config`` describes."""
        clock = SimulatedClock(config.time_scale)
        return cls(
            config=config,
            initial=config,
            clock=clock,
            accounts=Accounts(config, config.wires(), clock),
            bill=Bill(),
            journal=Journal(config.request_log_size),
            faults=FaultPlan(config.faults, config.seed),
            gallery=Gallery(),
            links=Signer(config.seed, clock),
            _started=clock.now(),
        )

    def settings_of(self, provider: str) -> SimulatedWireSettings:
        """Return the settings of one wire as they are now."""
        settings = getattr(self.config, provider)
        assert isinstance(settings, SimulatedWireSettings)
        return settings

    def settings_json(self) -> dict[str, Any]:
        """Return the settings of every wire by their names, amounts as strings."""
        return {
            name: {key: str(value) if isinstance(value, Decimal) else value for key, value in asdict(settings).items()}
            for name, settings in self.config.wires().items()
        }

    def put_settings(self, document: Mapping[str, Mapping[str, Any]]) -> None:
        """Change settings by provider and name; what is not named stays. What is about accounts holds for new ones.

        Raises ``ValueError`` naming what does not exist; then nothing has changed.
        """
        wires, now = self.config.wires(), self.clock.now()
        unknown = set(document) - set(wires)
        if unknown:
            raise ValueError(f"{min(unknown)} is not simulated; it knows {', '.join(sorted(wires))}")
        changed: dict[str, Any] = {name: overlay(wires[name], values, name) for name, values in document.items()}
        for provider, settings in changed.items():
            for name in (item.name for item in fields(settings)):
                if getattr(settings, name) != getattr(wires[provider], name):
                    self._changed[provider, name] = now
        self.config = replace(self.config, **changed)
        self.accounts.follow(self.config.wires())

    def since(self, provider: str, name: str) -> float:
        """Return the Unix time at which a setting got its present value."""
        return self._changed.get((provider, name), self._started)

    def has_forgotten(self, exchange: Exchange) -> bool:
        """Tell whether this request came before the last reset: it may end long after it, and nothing of it is kept."""
        return exchange.time < self._started

    def skew(self, provider: str) -> float:
        """Return how many real seconds the provider's clock is ahead of true time."""
        return self.settings_of(provider).clock_seconds

    def occurrence(self, *subject: str) -> int:
        """Return how often this was asked before: ids and latencies do not depend on arrival order."""
        self._seen[subject] += 1
        return self._seen[subject] - 1

    def dump_seen(self) -> list[list[Any]]:
        """Return the counts behind ``occurrence``; without them a restart would repeat ids."""
        return [[list(subject), count] for subject, count in self._seen.items()]

    def load_seen(self, rows: list[list[Any]]) -> None:
        """Take over counts that ``dump_seen`` returned."""
        self._seen.update({tuple(subject): count for subject, count in rows})

    def charge(self, exchange: Exchange, account: SimulatedAccount, charge: Charge) -> bool:
        """Take the amount off the balance and add a line to the bill; return false if it is short."""
        if not account.terms.unlimited:
            if account.balance - account.held < charge.drawn:
                return False
            account.balance -= charge.drawn
        self._write_line(exchange, account, charge)
        return True

    def hold(self, exchange: Exchange, account: SimulatedAccount, sale: Sale) -> bool:
        """Set the amount aside until ``settle`` or ``release``; return false if the balance is short."""
        if not account.terms.unlimited and account.balance - account.held < sale.charge.drawn:
            return False
        account.held += sale.charge.drawn
        exchange.sale = sale
        return True

    def settle(self, exchange: Exchange) -> None:
        """Charge for the sale of this request, whose reply is delivered, and show its pictures."""
        sale, account = self._end_of_sale(exchange)
        if not account.terms.unlimited:
            account.balance -= sale.charge.drawn
        self._write_line(exchange, account, sale.charge)
        for picture in sale.pictures:
            self.gallery.add(picture)

    def release(self, exchange: Exchange) -> None:
        """Forget the sale of this request: its reply did not arrive."""
        self._end_of_sale(exchange)
        exchange.sale = None

    def _end_of_sale(self, exchange: Exchange) -> tuple[Sale, SimulatedAccount]:
        sale, account = exchange.sale, exchange.require_account()
        if sale is None or not sale.held:
            raise RuntimeError(f"request {exchange.id} has no sale that is still open")
        sale.held = False
        account.held -= sale.charge.drawn
        return sale, account

    def _write_line(self, exchange: Exchange, account: SimulatedAccount, charge: Charge) -> None:
        exchange.line = BillLine(
            provider=account.terms.provider,
            key=account.key,
            submission_id=charge.submission_id,
            upstream_ids=charge.upstream_ids,
            quantity=len(charge.upstream_ids),
            amount=charge.amount,
            unit=charge.unit,
            time=self.clock.now(),
            request_id=exchange.id,
            body_sha256=exchange.body_sha256,
            byok=charge.byok,
        )
        if not self.has_forgotten(exchange):
            self.bill.add(exchange.line)

    def reset(self) -> None:
        """Forget everything that happened; the fault plan and the settings go back to their start."""
        self.config, self._started = self.initial, self.clock.now()
        self._changed.clear()
        self.accounts.follow(self.config.wires())
        self.accounts.reset()
        self.bill.reset()
        self.journal.reset()
        self.gallery.reset()
        self.faults.put(self.faults.document)
        self._seen.clear()
