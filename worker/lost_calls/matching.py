"""What a row of a list says of its picture, against what a lost call asked for."""

import re
from collections.abc import Mapping
from typing import Any, Final

from worker.providers.contract import Listed

_SHAPE_TOLERANCE: Final = 0.05  # sizes are rounded to what a model can draw


def contradicts(row: Listed, wanted: Mapping[str, Any]) -> bool:
    """Tell whether a row says that its call asked for something else; what either does not say contradicts nothing."""
    both = [(said, wanted[name]) for name, said in row.stated if wanted.get(name) is not None]
    return any(_same_form(said) != _same_form(ours) for said, ours in both)


def _same_form(value: Any) -> str:
    return re.sub(r"[\s-]", "", str(value).casefold()).replace("x", ":")


def fits(one: Listed, ratio: Any) -> bool:
    """Tell whether a row says that its picture has the shape that was asked for."""
    if not one.width or not one.height:
        return False
    wide, _, high = str(ratio or "1:1").partition(":")
    try:
        asked = float(wide) / float(high)
    except (ValueError, ZeroDivisionError):
        return False
    return abs(one.width / one.height / asked - 1) <= _SHAPE_TOLERANCE
