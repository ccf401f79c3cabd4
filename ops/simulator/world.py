"""Everything that the wires of one simulator share."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ops.simulator.accounts import Account, Accounts
from ops.simulator.bill import Bill, BillLine
from ops.simulator.clock import Clock
from ops.simulator.config import SimulatorConfig
from ops.simulator.exchange import Exchange
from ops.simulator.faults import FaultPlan
from ops.simulator.gallery import Gallery
from ops.simulator.journal import Journal
from ops.simulator.links import Signer
from ops.simulator.sale import Charge, Sale


@dataclass(slots=True)
class World:
    """The shared parts; all are touched by the server's event loop alone."""

    config: SimulatorConfig
    clock: Clock
    accounts: Accounts
    bill: Bill
    journal: Journal
    faults: FaultPlan
    gallery: Gallery
    links: Signer
    _seen: Counter[tuple[str, ...]] = field(default_factory=Counter)

    @classmethod
    def create(cls, config: SimulatorConfig) -> "World":
        """Build the parts that ``config`` describes."""
        clock = Clock(config.time_scale)
        return cls(
            config=config,
            clock=clock,
            accounts=Accounts(config, config.wires(), clock),
            bill=Bill(),
            journal=Journal(config.request_log_size),
            faults=FaultPlan(config.faults, config.seed),
            gallery=Gallery(),
            links=Signer(config.seed, clock),
        )

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

    def charge(self, exchange: Exchange, account: Account, charge: Charge) -> bool:
        """Take the amount off the balance and add a line to the bill; return false if it is short."""
        if not account.terms.unlimited:
            if account.balance - account.held < charge.amount:
                return False
            account.balance -= charge.amount
        self._write_line(exchange, account, charge)
        return True

    def hold(self, exchange: Exchange, account: Account, sale: Sale) -> bool:
        """Set the amount aside until ``settle`` or ``release``; return false if the balance is short."""
        if not account.terms.unlimited and account.balance - account.held < sale.charge.amount:
            return False
        account.held += sale.charge.amount
        exchange.sale = sale
        return True

    def settle(self, exchange: Exchange) -> None:
        """Charge for the sale of this request, whose reply is delivered, and show its pictures."""
        sale, account = self._end_of_sale(exchange)
        if not account.terms.unlimited:
            account.balance -= sale.charge.amount
        self._write_line(exchange, account, sale.charge)
        for picture in sale.pictures:
            self.gallery.add(picture)

    def release(self, exchange: Exchange) -> None:
        """Forget the sale of this request: its reply did not arrive."""
        self._end_of_sale(exchange)
        exchange.sale = None

    def _end_of_sale(self, exchange: Exchange) -> tuple[Sale, Account]:
        sale, account = exchange.sale, exchange.require_account()
        if sale is None or not sale.held:
            raise RuntimeError(f"request {exchange.id} has no sale that is still open")
        sale.held = False
        account.held -= sale.charge.amount
        return sale, account

    def _write_line(self, exchange: Exchange, account: Account, charge: Charge) -> None:
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
        )
        self.bill.add(exchange.line)

    def reset(self) -> None:
        """Forget everything that happened; the fault plan goes back to its start."""
        self.accounts.reset()
        self.bill.reset()
        self.journal.reset()
        self.gallery.reset()
        self.faults.put(self.faults.document)
        self._seen.clear()
