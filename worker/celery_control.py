"""Celery's control commands: inspection is answered, and every command that would change a worker is refused."""

import itertools
from functools import partial
from typing import Any, Final

import structlog
from celery.worker.control import Panel

_log = structlog.get_logger(__name__)
_INSPECTION: Final = frozenset(
    {
        "active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved", "revoked",
        "scheduled", "stats",
    }
)  # fmt: skip
"""What a worker answers; Flower asks no more. `hello` takes in revocations, and the memory dumps cost memory."""
_OF_FLOWER: Final = "enable_events"
"""Flower sends it every few seconds, to workers whose events are on anyway: refused without a word."""
_refused = itertools.count(1)


def refuse_control() -> None:
    """Have this process answer inspection, and refuse every command that would change what it does.

    Otherwise anyone who can write to the broker could stop all work with one broadcast, for good and without a trace.
    """
    for name in set(Panel.data) - _INSPECTION:
        Panel.data[name] = partial(_refuse, name)


def _refuse(command: str, _state: Any, **_arguments: Any) -> dict[str, str]:
    if command != _OF_FLOWER:
        _log.warning("control_refused", command=command, refused=next(_refused))
    return {"error": "a genqueue worker answers inspection only"}
