"""What every wire can be told, and how settings are read from JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

_T = TypeVar("_T", bound=Any)
_AMOUNTS = {"balance", "spending_limit", "cost_factor"}
_SPANS = {"latency", "processing_seconds"}

Order = Literal["newest", "oldest", "shuffled"]
Echo = Literal["same", "cut", "nfd", "typographic", "enhanced", "null", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedWireSettings:
    """What every wire has. Durations are simulated seconds, except where it says real ones; ``None`` is no limit.

    ``clock_seconds`` (real) is how far the provider's clock is ahead of true time; a row keeps the time that it was
    made with. ``cost_factor`` multiplies the stated cost, and leaves the bill alone.

    About lists: ``list_order`` is the order of their rows; "shuffled" stays the same from page to page.
    ``list_page_limit`` is the most rows of an answer, whatever ``limit`` asks for and the answer repeats.
    ``list_frozen`` shows nothing made after it was set. ``list_null_rows`` mixes so many rows of strangers with null or
    missing fields into each page; counts leave them out. A new row is not shown in lists for ``list_lag_seconds``
    (real), and is a 404 under its own address for ``get_lag_seconds`` (real).

    ``prompt_echo`` is how lists and rows repeat a prompt: "cut" is its first half, "nfd" decomposes its letters,
    "typographic" sets quotes, dashes and dots, "enhanced" wraps it in other words.
    """

    balance: Decimal
    latency: tuple[float, float]
    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    generations_per_hour: int | None = None
    concurrency: int | None = None
    link_seconds: float = 300.0
    clock_seconds: float = 0.0
    cost_factor: Decimal = Decimal(1)
    list_order: Order = "newest"
    list_page_limit: int | None = None
    list_lag_seconds: float = 0.0
    get_lag_seconds: float = 0.0
    list_frozen: bool = False
    list_null_rows: int = 0
    prompt_echo: Echo = "same"

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a page without rows: a client that pages through it would never end."""
        if self.list_page_limit is not None and self.list_page_limit < 1:
            raise ValueError(f"list_page_limit is {self.list_page_limit}: it must be at least 1")


def overlay(base: _T, values: Mapping[str, Any], where: str) -> _T:
    """Return ``base`` with ``values`` in place of its fields; amounts become decimals, pairs tuples.

    Raises ``ValueError`` naming a field that does not exist, or a word that is not among those of its field.
    """
    known = {item.name for item in fields(base)}
    words = {name: get_args(hint) for name, hint in get_type_hints(type(base)).items() if get_origin(hint) is Literal}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{where}.{name} is not a setting of the simulator; it knows {', '.join(sorted(known))}")
        if name in words and value not in words[name]:
            raise ValueError(f"{where}.{name} is {value!r}; it must be one of {', '.join(map(str, words[name]))}")
    return replace(base, **{name: _coerced(name, value) for name, value in values.items()})


def _coerced(name: str, value: Any) -> Any:
    if name in _AMOUNTS and value is not None:
        return Decimal(str(value))
    if name in _SPANS:
        low, high = value
        return (float(low), float(high))
    return value
