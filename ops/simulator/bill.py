"""The bill: one line per paid request that was accepted, charged when its provider does and never given back."""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class BillLine:
    """What one accepted request cost.

    ``amount`` is in ``unit`` ("credit" or "USD"), ``quantity`` counts images, ``time`` is Unix seconds,
    ``request_id`` is the simulator's own number for the HTTP request. ``byok`` is an amount that the owner of the key
    pays to whom it belongs, and not to the provider.
    """

    provider: str
    key: str
    submission_id: str
    upstream_ids: tuple[str, ...]
    quantity: int
    amount: Decimal
    unit: str
    time: float
    request_id: int
    body_sha256: str
    byok: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the line as ``/_sim/bill`` shows it, its amount as a string."""
        return {**asdict(self), "upstream_ids": list(self.upstream_ids), "amount": str(self.amount)}


class Bill:
    """All lines, and their totals by provider."""

    def __init__(self) -> None:
        self.lines: list[BillLine] = []
        self._spent: defaultdict[tuple[str, str, bool], Decimal] = defaultdict(Decimal)

    def add(self, line: BillLine) -> None:
        """Charge for one accepted request."""
        self.lines.append(line)
        self._spent[line.provider, line.key, line.byok] += line.amount

    def spent(self, provider: str, key: str, *, byok: bool = False) -> Decimal:
        """Return what a key has been charged in all; with ``byok``, what its owner has been charged elsewhere."""
        return self._spent[provider, key, byok]

    def spent_until(self, provider: str, key: str, moment: float, *, byok: bool = False) -> Decimal:
        """Return what ``spent`` did at the Unix time ``moment``."""
        whose = (provider, key, byok)
        chosen = (line for line in self.lines if (line.provider, line.key, line.byok) == whose and line.time <= moment)
        return sum((line.amount for line in chosen), Decimal(0))

    def find(self, submission_id: str) -> BillLine | None:
        """Return the line of a submission, ``None`` if it was not charged."""
        return next((line for line in reversed(self.lines) if line.submission_id == submission_id), None)

    def latest(self, provider: str, key: str, but: str) -> BillLine | None:
        """Return the last line of a key that is not of the submission ``but``."""
        chosen = (line for line in reversed(self.lines) if (line.provider, line.key) == (provider, key))
        return next((line for line in chosen if line.submission_id != but), None)

    def reset(self) -> None:
        """Forget every line."""
        self.lines.clear()
        self._spent.clear()

    def as_json(self, provider: str | None = None, key: str | None = None, *, summary: bool = False) -> dict[str, Any]:
        """Return ``{"totals": {provider: ...}, "lines": [...]}``; only the totals with ``summary``."""
        chosen = [line for line in list(self.lines) if provider in {None, line.provider} and key in {None, line.key}]
        document: dict[str, Any] = {"totals": _totals(chosen)}
        if not summary:
            document["lines"] = [line.as_json() for line in chosen]
        return document

    def load(self, rows: list[dict[str, Any]]) -> None:
        """Take over lines that ``as_json`` returned."""
        for row in rows:
            amount, ids = Decimal(row["amount"]), tuple(row["upstream_ids"])
            self.add(BillLine(**{**row, "amount": amount, "upstream_ids": ids}))


def _totals(lines: list[BillLine]) -> dict[str, Any]:
    amounts: defaultdict[str, Decimal] = defaultdict(Decimal)
    counts: Counter[str] = Counter()
    images: Counter[str] = Counter()
    units: dict[str, str] = {}
    for line in lines:
        amounts[line.provider] += line.amount
        counts[line.provider] += 1
        images[line.provider] += line.quantity
        units[line.provider] = line.unit
    return {
        name: {
            "submissions": counts[name],
            "images": images[name],
            "amount": str(amounts[name]),
            "unit": units[name],
        }
        for name in sorted(counts)
    }
