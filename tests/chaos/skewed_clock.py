"""A process whose clock is wrong: what it asks `time.time` and `datetime.now` is shifted, monotonic time is not."""

import datetime as dt
import sys
import time
from typing import Any, Final

_TIME: Final = time.time
_DATETIME: Final = dt.datetime
# They compare classes, and ask no clock.
_LEFT_ALONE: Final = ("pydantic", "sqlalchemy", "sqlmodel", "psycopg")


class _LikeDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _DATETIME)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, _DATETIME)


def shift(seconds: float) -> None:
    """Shift the clock of this process, in every module that is loaded by now and has taken its clock by name."""

    def shifted_time() -> float:
        return _TIME() + seconds

    class ShiftedDatetime(_DATETIME, metaclass=_LikeDatetime):
        def __new__(cls, *parts: Any, **named: Any) -> Any:
            return _DATETIME(*parts, **named)

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return _DATETIME.now(tz) + dt.timedelta(seconds=seconds)

        @classmethod
        def utcnow(cls) -> Any:
            return _DATETIME.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=seconds)

    for name, module in list(sys.modules.items()):
        if module is None or name == __name__ or name.startswith(_LEFT_ALONE):
            continue
        for attribute, value in list(vars(module).items()):
            if value is _TIME:
                setattr(module, attribute, shifted_time)
            elif value is _DATETIME:
                setattr(module, attribute, ShiftedDatetime)
