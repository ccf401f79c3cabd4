"""JSON as a row may contain it: no duplicate keys, no NaN, and every refusal one kind of error."""

import json
from typing import Any, Final

_DIGITS: Final = "contains a number with too many digits"  # Python refuses thousands of them


class RowJsonError(ValueError):
    """A text is not JSON that a row may contain; the message never quotes values."""


def parse(text: str) -> Any:
    """Parse one JSON value (RFC 8259, numbers finite, keys unique); raises `RowJsonError`."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise RowJsonError(f"is not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise RowJsonError("is JSON nested too deeply") from None
    except RowJsonError:
        raise
    except ValueError:
        raise RowJsonError(_DIGITS) from None


def parse_beginning(text: str) -> tuple[Any, int]:
    """Parse the JSON value with which a text begins, and return it with its length; length 0: it is not whole yet.

    Raises `RowJsonError` for a value that a row may not contain.
    """
    try:
        return _DECODER.raw_decode(text)
    except json.JSONDecodeError:
        return None, 0
    except RecursionError:
        raise RowJsonError("is JSON nested too deeply") from None
    except RowJsonError:
        raise
    except ValueError:
        raise RowJsonError(_DIGITS) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RowJsonError("contains a key twice in one object")
    return members


def _no_constant(name: str) -> None:
    raise RowJsonError(f"contains {name}, which is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
