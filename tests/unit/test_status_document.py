"""`genqueue status --json`: whatever the state of the queue may hold, it can be written as JSON."""

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel

from producer.cli.status import _document
from shared.account_settings import RateWindow
from shared.db.read.status import QueueStatus

_SAMPLES: dict[Any, Any] = {
    datetime: datetime(2026, 12, 1, tzinfo=UTC),
    Decimal: Decimal("0.10"),
    UUID: UUID(int=1),
    RateWindow: RateWindow(requests=5, seconds=60),
    **{kind: kind(1) for kind in (int, float, str, bool)},
}


def sample(kind: Any) -> Any:
    """Return a value of a type with every part of it filled: no tuple is empty, and nothing is None that need not."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _SAMPLES:
        made = _SAMPLES[kind]
    elif origin is Literal:
        made = arguments[0]
    elif origin in {Union, types.UnionType}:
        made = sample(next(one for one in arguments if one is not type(None)))
    elif origin is tuple:
        made = (sample(arguments[0]),)
    elif origin is not None and issubclass(origin, Mapping):
        made = {sample(arguments[0]): sample(arguments[1])}
    elif isinstance(kind, type) and issubclass(kind, Enum):
        made = next(iter(kind))
    else:
        hints = get_type_hints(kind)
        names = [one.name for one in fields(kind)] if is_dataclass(kind) else list(hints)
        made = kind(**{name: sample(hints[name]) for name in names})
    return made


def test_a_state_with_everything_in_it_is_one_json_object() -> None:
    whole = sample(QueueStatus)
    told = json.loads(json.dumps(_document(whole)))
    assert told.keys() == {one.name for one in fields(QueueStatus)} | {"totals", "problems"}
    (account,) = told["accounts"]
    (window,) = account["windows"]
    assert window["window"] == {"requests": 5, "seconds": 60.0, "scope": "all"}
    assert isinstance(whole.accounts[0].windows[0].window, BaseModel)
