"""Values that a gateway put into lists: some turn every element into a list of one."""

from typing import Any


def alone(value: Any) -> Any:
    """Return what a list of one holds, and anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
