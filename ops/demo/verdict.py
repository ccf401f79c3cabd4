"""Judges the demo by the simulator's bill, not by our own tables alone."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

EXPECTED: Final[dict[str, str]] = {
    "bloom-moderated": "failed",
    "bloom-corrupt": "failed",
    "getimg-refused": "failed",
    "getimg-lost": "in_doubt",
    "banatie-failed": "failed",
}
"""How the rows that fail on purpose must end; every other row must succeed."""


@dataclass(frozen=True, slots=True)
class AccountVerdict:
    """One account's money: what we settled and hold, and what the simulator really charged."""

    name: str
    unit: str
    settled: Decimal
    held: Decimal
    held_unpriced: int
    settled_unpriced: int
    charged: Decimal

    @property
    def agrees(self) -> bool:
        """Whether settled <= charged <= settled + held, where an unpriced call may stand for any amount."""
        unpriced = self.held_unpriced + self.settled_unpriced
        within = self.charged <= self.settled + self.held or unpriced > 0
        return self.settled <= self.charged and within


def charged_by(simulator_url: str) -> dict[str, Decimal]:
    """Return what the simulator charged, by provider."""
    with urllib.request.urlopen(f"{simulator_url}/_sim/bill?summary=1", timeout=10) as reply:  # noqa: S310 - our own URL
        totals = json.load(reply)["totals"]
    return {provider: Decimal(total["amount"]) for provider, total in totals.items()}


def compare(bill: Sequence[Mapping[str, Any]], charged: Mapping[str, Decimal]) -> list[AccountVerdict]:
    """Compare our bill of the batch with the simulator's."""
    return [
        AccountVerdict(
            row["account"],
            row["unit"],
            row["settled"],
            row["held"],
            row["held_unpriced"],
            row["settled_unpriced"],
            charged.get(row["provider"], Decimal(0)),
        )
        for row in bill
    ]


def surprises(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each job that did not end as expected."""
    return [
        f"{job['custom_id']} is {job['state']} ({job['error_code']}), not {EXPECTED.get(job['custom_id'], 'succeeded')}"
        for job in jobs
        if job["state"] != EXPECTED.get(job["custom_id"], "succeeded")
    ]
