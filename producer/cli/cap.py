"""`genqueue cap BATCH`: show or change what a batch may spend."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Final

import typer

from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.tables import cell
from producer.cli.terminal import visible
from producer.client import Client
from shared import catalog

_COUNTED: Final = ("reserved", "settled", "held", "elsewhere")
"""What of a bill counts against a cap."""


def cap(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    max_cost: Annotated[
        list[str] | None, typer.Argument(help="PROVIDER=AMOUNT, or an amount; without any, the caps are shown")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="remove every cap of the batch")] = False,
) -> None:
    """Show or set a batch's spend caps; other providers' caps stay, and jobs that waited for room are tried again.

    Without an amount nothing changes: it shows each cap and what is spent. Only
    --none removes the caps; then nothing bounds what the batch spends.

    Example: genqueue cap spring getimg=25.00
    """
    if none and max_cost:
        fail("give amounts, or say --none to remove every cap", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        if not (max_cost or none):
            for line in _shown(opened, batch):
                errors().print(visible(line))
            return
        caps = _changed(opened, batch, max_cost)
    said = ", ".join(f"{provider} {amount:f}" for provider, amount in sorted(caps.items()))
    errors().print(visible(f"batch {batch}: {said or 'no cap'}"))


def _changed(opened: Client, batch: str, max_cost: list[str] | None) -> dict[str, Decimal]:
    if max_cost:
        return opened.cap(batch, max_cost)
    opened.uncap(batch)
    return {}


def _shown(opened: Client, batch: str) -> Iterator[str]:
    """Say what each provider may take for the batch, and what it has taken."""
    caps, spent = opened.caps(batch), _spent(opened, batch)
    if not caps:
        yield f"batch {batch}: no cap"
    for provider in sorted({*caps, *spent}):
        bound = f"cap {cell(caps[provider])}" if provider in caps else "no cap"
        unit = catalog.get(provider).unit
        yield f"batch {batch}: {provider} {bound}, {cell(spent[provider]) or 0} {unit} spent or set aside"


def _spent(opened: Client, batch: str) -> dict[str, Decimal]:
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for row in opened.bill(batch):
        spent[row["provider"]] += sum((row[name] for name in _COUNTED), Decimal(0))
    return spent
