"""Every code a job can end or wait with: what it means, what the queue does, what you can do.

The codes stand in `errors.toml` beside this file. They are stored in rows and stable between releases.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code, worded once for `explain` and the documentation."""

    code: str
    meaning: str
    queue_does: str
    you_can: str


_TABLE: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SAID: Final[dict[str, str]] = _TABLE["said"]

COLLECT: Final = _SAID["collect"]
CODES: Final[dict[str, ErrorCode]] = {
    code: ErrorCode(code, *(part.format(**_SAID) for part in parts)) for code, parts in _TABLE["codes"].items()
}
