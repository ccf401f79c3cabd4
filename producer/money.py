"""Spend caps as people write them: an amount for a provider's part of a batch."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from shared import catalog

_UNBILLED: Final = "unbilled"
_MOST: Final = 10**9
_DECIMALS: Final = 9


class CapError(ValueError):
    """A cap cannot be read, or its provider is not clear; the message says which."""


def parse_caps(texts: Iterable[str], *, providers: Iterable[str]) -> dict[str, Decimal]:
    """Read `PROVIDER=AMOUNT`, or only an amount if just one of `providers` costs money; raises `CapError`.

    Amounts are in the provider's own unit: dollars or credits.
    """
    billed = [name for name in providers if catalog.get(name).unit != _UNBILLED]
    found: dict[str, Decimal] = {}
    for text in texts:
        name, given, amount = text.rpartition("=")
        name = name.strip() if given else _only(billed, text)
        if name not in catalog.names():
            raise CapError(
                f"{name[:40]!r} in the cap {text[:60]!r} is not a provider; known: {', '.join(catalog.names())}"
            )
        if name in found:
            raise CapError(f"there are two caps for {name}")
        found[name] = _amount(amount, text)
    return found


def _only(billed: list[str], text: str) -> str:
    if len(billed) == 1:
        return billed[0]
    whose = f"the rows go to {', '.join(billed)}" if billed else "no provider of these rows costs money"
    raise CapError(f"the cap {text[:60]!r} names no provider, and {whose}: write PROVIDER=AMOUNT")


def amount_in(text: str) -> Decimal | None:
    """Return an amount of money or credits as a person writes it; None for anything else."""
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        return None
    return abs(amount) if "_" not in text and is_amount(amount) else None  # abs: there is no -0


def is_amount(amount: Decimal) -> bool:
    """Tell whether a number can be an amount: from 0 to a thousand million, to the billionth."""
    return amount.is_finite() and 0 <= amount <= _MOST and amount == round(amount, _DECIMALS)


def _amount(text: str, given: str) -> Decimal:
    amount = amount_in(text)
    if amount is None:
        raise CapError(f"the cap {given[:60]!r} has no amount such as 10.00")
    return amount


def said_caps(caps: Mapping[str, Decimal]) -> str:
    """Return caps in the form of `--max-cost`; "none" if every cap was removed."""
    return " ".join(f"{provider}={amount:f}" for provider, amount in sorted(caps.items())) or "none"
