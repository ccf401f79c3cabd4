"""How the pages write values: amounts, times, durations, states. Templates use these as filters."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

from ops.dashboard.sessions import Person, Right
from shared.errors import CODES

_COMMANDS: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_HARMLESS: Final = "\n\t\u200d"
"""Line ends, and the joiner inside of an emoji."""
_NUMBER: Final = r"[0-9](?:[0-9.,]*[0-9])?"
# The sentences of caps, waits, balances and decisions: a number with a unit, or in a place of its own.
_SUM: Final = re.compile(
    rf"(?:{_NUMBER} of )?{_NUMBER}(?= (?:USD|credits?)\b)|(?<=this needs ){_NUMBER}|(?<=by hand: ){_NUMBER}|\${_NUMBER}"
)
_QUOTED: Final = re.compile(r"`([^`\n]+)`")
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_TENTHS_BELOW: Final = 10


class ShownState(NamedTuple):
    """How a state is shown: a sign and a word, so that nobody needs the colour, and the class of its colour."""

    sign: str
    word: str
    kind: str


STATES: Final[Mapping[str, ShownState]] = {
    "queued": ShownState("○", "queued", "wait"),
    "on_hold": ShownState("‖", "on hold", "held"),
    "submitting": ShownState("▸", "submitting", "run"),
    "pending": ShownState("▸", "pending", "run"),
    "processing": ShownState("▸", "processing", "run"),
    "transferring": ShownState("▸", "transferring", "run"),
    "checking": ShownState("?", "checking", "run"),
    "in_doubt": ShownState("!", "in doubt", "held"),
    "succeeded": ShownState("✓", "succeeded", "good"),
    "failed": ShownState("✕", "failed", "bad"),
    "cancelled": ShownState("⊘", "cancelled", "over"),
}
"""Every state as it is shown, in the order of a job's road."""
SERVERS: Final[Mapping[str, str]] = {
    "broker": "broker (Redis)",
    "bucket": "bucket (S3)",
    "disk": "disk of the workers",
    "clock": "clock of the workers",
}
"""What a worker may find wrong around it, as it is shown."""
IMAGE_STATES: Final[Mapping[str, ShownState]] = {
    "pending": ShownState("▸", "pending", "run"),
    "processing": ShownState("▸", "processing", "run"),
    "ready": ShownState("▸", "ready", "run"),
    "stored": ShownState("✓", "stored", "good"),
    "upstream_only": ShownState("✓", "at its provider only", "over"),
    "failed": ShownState("✕", "failed", "bad"),
}


def state(name: Any) -> ShownState:
    """Return how a job's state is shown; an unknown one is shown as it is written."""
    return STATES.get(str(name), ShownState("", str(name), "over"))


def image_state(name: Any) -> ShownState:
    """Return how an image's state is shown."""
    return IMAGE_STATES.get(str(name), ShownState("", str(name), "over"))


def count(value: int | None) -> str:
    """Return a number with its thousands apart."""
    return f"{value or 0:,}"


def money(value: Decimal | None) -> str:
    """Return an amount with at least two decimals if it has any, and all that matter; "" for None."""
    if value is None:
        return ""
    plain = f"{Decimal(value).normalize():,f}"
    whole, point, cents = plain.partition(".")
    return f"{whole}.{cents:0<2}" if point else whole


def unit(value: str | None) -> str:
    """Return a unit as it stands behind an amount; nothing is charged in `unbilled`."""
    return {"credit": "credits", None: ""}.get(value, str(value))


def duration(seconds: float | None) -> str:
    """Return a length of time in one or two units, such as `2 h 05 min`; "" for None."""
    if seconds is None:
        return ""
    if seconds < _TENTHS_BELOW:
        return f"{max(seconds, 0):.1f} s"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def since(moment: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago a moment was."""
    return duration(((now or datetime.now(UTC)) - moment).total_seconds()) if moment else ""


def when(moment: datetime | None) -> str:
    """Return a moment to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else ""


def clock(moment: datetime | None) -> str:
    """Return the time of day to the millisecond, in UTC."""
    return f"{moment.astimezone(UTC):%H:%M:%S.%f}"[:-3] if moment else ""


def size(length: int | None) -> str:
    """Return a number of bytes as kB or MB."""
    if length is None:
        return ""
    return f"{length / 1e6:.1f} MB" if length >= 10**6 else f"{length / 1e3:.0f} kB"


def meaning(code: str | None) -> Markup:
    """Return what an error code means; "" for one that nobody knows."""
    known = CODES.get(code or "")
    return coded(known.meaning if known else "")


def coded(text: str) -> Markup:
    """Return a sentence, escaped, with what stands between backticks as code."""
    return Markup(_QUOTED.sub(r"<code>\1</code>", str(escape(visible(text)))))  # noqa: S704 - escaped just here


def remedy(code: str | None) -> str:
    """Return the act that can mend a failure with this code, `retry` or `accept`; "" if none can."""
    known = CODES.get(code or "")
    advice = known.you_can if known else ""
    return next((act for act in ("accept", "retry") if f"`genqueue {act}" in advice), "")


def short(text: str | None, most: int = 140) -> str:
    """Return a text on one line, cut at `most` characters."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= most else line[: most - 1] + "…"


def told(text: str | None, person: Person) -> str:
    """Return a sentence as a person may read it: without its amounts for somebody who does not see money."""
    return str(text or "") if person.may(Right.MONEY) else _SUM.sub("…", str(text or ""))


def visible(value: Any) -> Any:
    """Return a text with every control character and direction mark written out; a template does this to each value."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(f"\\u{ord(char):04x}" if _commands(char) else char for char in value)


def _commands(char: str) -> bool:
    return unicodedata.category(char) in _COMMANDS and char not in _HARMLESS


def exact(value: str) -> Markup:
    """Return a text as it is, escaped, for the value of a form's field."""
    return escape(value)


FILTERS: Final = {
    each.__name__: each
    for each in (
        state,
        image_state,
        count,
        money,
        unit,
        duration,
        since,
        when,
        clock,
        size,
        meaning,
        coded,
        remedy,
        short,
        told,
        exact,
    )
}
