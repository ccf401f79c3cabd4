"""Batches of all five providers, and when they are over."""

import json
from collections.abc import Iterator
from typing import Any, Final

from shared import catalog
from tests.compose.engine import ComposeTestError, Project, until

UNDER_WAY: Final = frozenset({"submitting", "pending", "processing", "transferring"})
_MODELS: Final = {"getimg": "seedream-5-lite", "openrouter": "bytedance-seed/seedream-4.5"}
_BATCH_SECONDS: Final = 600.0
_CHARGED: Final = """
import urllib.request
print(urllib.request.urlopen('http://127.0.0.1:8900/_sim/bill?summary=1', timeout=10).read().decode())
"""


def rows(each: int) -> Iterator[dict[str, Any]]:
    """Return so many prompts for each provider."""
    for number in range(each):
        for name in catalog.names():
            model = {"model": _MODELS[name]} if name in _MODELS else {}
            yield {"custom_id": f"{name}-{number}", "provider": name, "prompt": f"harbour {number} by {name}"} | model


def lines(each: int) -> str:
    """Return the same as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows(each))


def await_air(project: Project, batch: str, count: int = 3) -> int:
    """Wait until so many jobs of a batch are in the air, and return how many there are."""
    return int(
        until(
            f"{count} jobs of {batch} are in the air",
            lambda: (air := in_air(project.states(batch))) >= count and air,
            seconds=_BATCH_SECONDS,
        )
    )


def in_air(states: dict[str, int]) -> int:
    """Return how many jobs somebody works on, or has bought and not yet got."""
    return sum(count for state, count in states.items() if state in UNDER_WAY)


def await_end(project: Project, batch: str) -> dict[str, int]:
    """Wait until every job of a batch has ended or is in doubt, and return how many are in each state."""

    def over() -> dict[str, int] | None:
        states = project.states(batch)
        return states if states and not states.keys() & (UNDER_WAY | {"queued"}) else None

    found: dict[str, int] = until(f"the batch {batch} is over", over, seconds=_BATCH_SECONDS)
    return found


def await_success(project: Project, batch: str) -> str:
    """Wait for the end of a batch of which every job must succeed. Raises `ComposeTestError` if one did not."""
    states = await_end(project, batch)
    if set(states) != {"succeeded"}:
        raise ComposeTestError(f"not every job of {batch} succeeded: {states}")
    return f"{states['succeeded']} jobs, all succeeded, none in doubt"


def charged(project: Project) -> dict[str, Any]:
    """Return what the simulator of a project charged, by provider."""
    found: dict[str, Any] = json.loads(project.python("simulator", _CHARGED))["totals"]
    return found
