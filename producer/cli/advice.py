"""An advice made ready to type: its JOB, BATCH, ACCOUNT and PROVIDER replaced by a job's own names, for a shell."""

import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final = re.compile(r"\b(?:JOB|BATCH|ACCOUNT|PROVIDER)\b")


def fill(advice: str, job: Mapping[str, Any]) -> str:
    """Replace the placeholders of an advice by the names of `job`: its id, batch, custom_id, account and provider."""
    name = f"{job['batch']}/{job['custom_id']}"
    values = {
        "JOB": str(job["id"]) if name.startswith("-") else name,
        "BATCH": str(job["batch"]),
        "ACCOUNT": str(job["account"]),
        "PROVIDER": str(job["provider"]),
    }
    return _WORDS.sub(lambda found: _argument(values[found[0]]), advice)


def _argument(value: str) -> str:
    return f"-- {shlex.quote(value)}" if value.startswith("-") else shlex.quote(value)
