"""An amount of money or credits as a provider states it: exact, or None where there is no credible figure."""

import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

# In USD or credits. What is absurd, but a number that a bill could show, is booked and shown to a person.
_MOST: Final = Decimal(10) ** 15
_TEXT: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_FINEST: Final = -30  # decimal places; more cannot be a price, and would have to be stored


def amount_of(value: Any) -> Decimal | None:
    """Return a number, or text that is one, exactly as written; None for anything else. It may be negative."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    if isinstance(value, str) and not _TEXT.fullmatch(value.strip()):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    exponent = amount.as_tuple().exponent
    credible = isinstance(exponent, int) and exponent >= _FINEST and amount.copy_abs() < _MOST
    return amount if credible else None


def cost_of(value: Any) -> Decimal | None:
    """Return `value` as `amount_of` does, None where it is negative: nothing that was bought pays us."""
    amount = amount_of(value)
    return None if amount is None or amount < 0 else amount
