"""What a caller's message may say: pure; whoever may publish to the queue may spend, so that nothing is guessed."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from shared.policies import OnUnknown

TASK: Final = "genqueue.enqueue"
ROWS_MAX: Final = 200
BODY_MAX_BYTES: Final = 256 * 1024
_KEYS: Final = frozenset({"rows", "batch", "provider", "on_unknown", "max_cost", "notify"})
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/@-]{1,200}", re.ASCII)
_BATCH_CHARS: Final = 255


class MessageError(ValueError):
    """A message that cannot be taken, however often it comes; the words quote no prompt."""


@dataclass(frozen=True, slots=True)
class Notify:
    """The task that hears of the end of each job, and the queue that it is sent to."""

    task: str
    queue: str

    @classmethod
    def read(cls, given: Any) -> Self | None:
        """Return it from a message's `notify`, None for none; raises `MessageError`."""
        if given is None:
            return None
        names = [given.get(key) for key in ("task", "queue")] if isinstance(given, dict) else []
        sound = [name for name in names if isinstance(name, str) and _NAME.fullmatch(name)]
        if len(sound) != 2:  # noqa: PLR2004 - both
            raise MessageError("notify: must be an object of a task and a queue, such as shop.image_ready and shop")
        return cls(task=sound[0], queue=sound[1])

    def address(self, door: str) -> str:
        """Return the text under which the door of this name knows it."""
        return json.dumps([door, self.queue, self.task])


@dataclass(frozen=True, slots=True)
class MessageOrder:
    """The rows of one message, and what they ask for their batch."""

    rows: list[dict[str, Any]]
    batch: str
    provider: str | None
    on_unknown: OnUnknown | None
    max_cost: tuple[str, ...]
    notify: Notify | None


def kwargs_of(body: Any, *, task: str, size: int) -> Mapping[str, Any]:
    """Return the keyword arguments of a Celery message of protocol 2 or 1, of `size` bytes; raises `MessageError`."""
    if task != TASK:
        raise MessageError(f"the task is not {TASK}")
    if size > BODY_MAX_BYTES:
        raise MessageError(f"the message has more than {BODY_MAX_BYTES // 1024} KiB: send fewer rows in each")
    kwargs = body[1] if isinstance(body, list) and len(body) == 3 else None  # noqa: PLR2004 - args, kwargs, embed
    if isinstance(body, dict):
        kwargs = body.get("kwargs")
    if not isinstance(kwargs, dict):
        raise MessageError("the message has no keyword arguments: send kwargs={'rows': [...], 'batch': '...'}")
    return kwargs


def read_order(given: Mapping[str, Any]) -> MessageOrder:
    """Return what a message asks for; raises `MessageError`. The rows themselves are checked by the client."""
    if unknown := sorted(given.keys() - _KEYS):
        raise MessageError(f"{unknown[0][:40]!r} is not known; known: {', '.join(sorted(_KEYS))}")
    rows, batch = given.get("rows"), given.get("batch")
    if not isinstance(rows, list) or not 1 <= len(rows) <= ROWS_MAX or not all(isinstance(row, dict) for row in rows):
        raise MessageError(f"rows: must be a list of 1 to {ROWS_MAX} objects")
    if not isinstance(batch, str) or not batch.strip() or len(batch) > _BATCH_CHARS or not batch.isprintable():
        raise MessageError(f"batch: must be text of 1 to {_BATCH_CHARS} characters, all of them printable")
    for number, row in enumerate(rows, 1):
        if not row.get("custom_id"):
            raise MessageError(f"row {number}, custom_id: is missing: without one, a repeated message would buy twice")
    provider, on_unknown = given.get("provider"), given.get("on_unknown")
    if provider is not None and not isinstance(provider, str):
        raise MessageError("provider: must be text")
    if on_unknown not in (None, "hold", "resend"):  # no set: what came may be unhashable
        raise MessageError("on_unknown: must be hold or resend")
    return MessageOrder(
        rows, batch, provider, on_unknown, _caps(given.get("max_cost")), Notify.read(given.get("notify"))
    )


def _caps(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, dict) or not all(isinstance(amount, str) for amount in given.values()):
        raise MessageError('max_cost: must be an object of amounts as text, such as {"getimg": "10.00"}')
    return tuple(f"{provider}={amount}" for provider, amount in given.items())
