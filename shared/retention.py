"""How long rows of ended jobs are kept, by how they ended; without a word, for ever."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

STATES: Final = ("succeeded", "failed", "cancelled")
_PART: Final = re.compile(r"(succeeded|failed|cancelled)=([1-9][0-9]{0,4})d")

Retention = Mapping[str, timedelta]
"""Final state -> how long after its end a job is kept; what is not named stays."""


def parse_retention(given: str) -> Retention:
    """Read a setting such as "succeeded=90d,failed=180d"; raises `ValueError` saying what is expected."""
    found: dict[str, timedelta] = {}
    for part in filter(None, re.split(r"[,\s]+", given)):
        match = _PART.fullmatch(part)
        if match is None or match[1] in found:
            raise ValueError("is not like succeeded=90d,failed=180d,cancelled=30d: each state once, in whole days")
        found[match[1]] = timedelta(days=int(match[2]))
    return found
