"""What a provider's answer says, read from its JSON: one bad part must not lose the others, and nothing is guessed."""

import codecs
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import chain
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

from shared import upstream_ids
from worker.providers.contract import OWN_SCHEME
from worker.providers.wrapped import alone

T = TypeVar("T")
_MOST_ROWS: Final = 2000
_ROWS: Final = ("data", "result", "image", "generation", "media", "images", "generations", "items")
_ROW_DEPTH: Final = 4
_ID_CHARS: Final = 200
_LINK_CHARS: Final = 16 * 1024  # signed links with a whole policy in them come to a few thousand
_MOST_CONTAINERS: Final = 200_000  # objects and lists; each costs sixty times its bytes in memory
_MOST_VALUES: Final = 1_000_000
_MOST_REPEATED: Final = 100  # names of one object
_MOST_DIGITS: Final = 1000  # of a whole number; Python's own bound is about four times as many
_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")  # JSON can carry them, PostgreSQL cannot
_MOST_PIXELS: Final = 1_000_000  # of one side
_BREAKS: Final = re.compile(r"[\t\r\n]+")
_CONTAINER: Final = re.compile(r"[{\[]")
_START_BYTES: Final = 1024
DAMAGED: Final = "\ufffd"
"""Stands for bytes of an answer that are no text: what has it may be shown, and names or finds nothing."""


class UnreadableError(Exception):
    """An answer that does not say what its document promises; the message never quotes it."""


def read_json(body: bytes) -> Any:
    """Return the JSON in `body`, numbers with a point as `Decimal`; raises `UnreadableError`.

    An answer of more parts than any document's is not read: its objects would take gigabytes. One odd part must not
    lose what stands beside it. A number that nothing can hold is a `Decimal` NaN. A byte that is no text is `DAMAGED`.
    A string may contain line breaks. A remark behind the JSON is skipped, unless it could hold rows. Lists under a name
    that comes twice are joined: each may hold what is paid for. Of other values, the last one counts.
    """
    return _read(body, _DECODER)


def read_proof(body: bytes) -> Any:
    """Return the JSON in `body` as `read_json` does; raises `UnreadableError` too where a name comes twice in it.

    What is missing from such an answer may stand under the name that was passed over: it proves no absence.
    """
    return _read(body, _STRICT)


def repetition(body: bytes) -> str | None:
    """Return what is wrong with a readable answer in which a name comes twice; None where none does."""
    try:
        read_proof(body)
    except UnreadableError:
        return "a name comes twice in it"
    return None


def _read(body: bytes, decoder: json.JSONDecoder) -> Any:
    if body.count(b"{") + body.count(b"[") > _MOST_CONTAINERS or body.count(b",") > _MOST_VALUES:
        raise UnreadableError("an answer of too many parts")
    text = body.decode(json.detect_encoding(body), "replace").strip()
    try:
        value, end = decoder.raw_decode(text)
    except UnreadableError:
        raise
    except (ValueError, RecursionError):
        raise UnreadableError(f"{_looks_like(body)} where JSON was due") from None
    rest = text[end:]
    if rest and (not isinstance(value, dict | list) or _CONTAINER.search(rest)):
        raise UnreadableError(f"{_looks_like(body)} where JSON was due")
    return value


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("NaN")


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) <= _MOST_DIGITS else Decimal("NaN")


def _joined(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, the lists under one name joined."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    if len(pairs) - len(found) > _MOST_REPEATED:
        raise UnreadableError("an answer with a name that comes many times")
    joined: dict[str, Any] = {}
    for name, value in pairs:
        joined[name] = _both(joined[name], value) if name in joined else value
    return joined


def _both(before: Any, value: Any) -> Any:
    """Return what two values of one name come to: the later one, with the lists of the earlier one."""
    if isinstance(before, list) and isinstance(value, list):
        return before if before == value else before + value
    if isinstance(before, dict) and isinstance(value, dict):
        lists = {name: one for name, one in before.items() if isinstance(one, list | dict)}
        return value | {name: _both(one, value[name]) if name in value else one for name, one in lists.items()}
    return value


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadableError("an answer in which a name comes twice")
    return found


_DECODER: Final = json.JSONDecoder(parse_float=_number, parse_int=_whole, strict=False, object_pairs_hook=_joined)
_STRICT: Final = json.JSONDecoder(parse_float=_number, parse_int=_whole, strict=False, object_pairs_hook=_unrepeated)


def member(value: Any, *path: str) -> Any:
    """Return what lies at `path` in nested JSON objects; raises `UnreadableError` that names the path."""
    for step in path:
        if not isinstance(value, dict) or step not in value:
            raise UnreadableError(f"no {'.'.join(path)} in the answer")
        value = value[step]
    return value


def row_of(answer: Any, upstream_id: str, *, names: Sequence[str] = ("id",)) -> Any:
    """Return what an answer says of one picture: `data`, or where that does not name it, the object that does.

    What was bought is not collected for as long as its row is not found. Raises `UnreadableError`.
    """
    wanted = upstream_ids.folded(upstream_id)
    documented = answer.get("data") if isinstance(answer, dict) else None
    for row in chain(_rows_in(documented, _ROW_DEPTH), _rows_in(answer, _ROW_DEPTH)):
        if any(isinstance(row.get(name), str) and upstream_ids.folded(row[name].strip()) == wanted for name in names):
            return row
    return member(answer, "data")


def _rows_in(part: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield an object and those inside it, in the places where a variant of an API may put a row."""
    if isinstance(part, dict):
        yield part
    inner = [part[name] for name in _ROWS if name in part] if isinstance(part, dict) else part
    for one in inner if isinstance(inner, list) and depth else ():
        yield from _rows_in(one, depth - 1)


def list_of(value: Any) -> list[Any]:
    """Return a JSON list; raises `UnreadableError`."""
    if not isinstance(value, list):
        raise UnreadableError("no list where one was due")
    return value


def readable(listed: Any, read: Callable[[Any], T], *, most: int = _MOST_ROWS) -> tuple[T, ...]:
    """Return what `read` makes of the first `most` items that it can read: one bad entry must not lose the others.

    Raises `UnreadableError` where `listed` is no list.
    """
    found: list[T] = []
    for item in list_of(listed):
        if len(found) == most:
            break
        with suppress(UnreadableError):
            found.append(read(item))
    return tuple(found)


def text_of(value: Any) -> str:
    """Return an id as text that can be stored and shown; raises `UnreadableError`, also for one that is too long.

    White space around it is no part of it: whoever asks for it by a URL would not find it.
    """
    value = alone(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    value = value.strip() if isinstance(value, str) else value
    if not isinstance(value, str) or not value or not value.isprintable() or DAMAGED in value:
        raise UnreadableError("an id that is not text")
    if len(value) > _ID_CHARS:
        raise UnreadableError(f"an id of more than {_ID_CHARS} characters")
    return value


def check_id(given: Any, asked: str) -> None:
    """Raise `UnreadableError` where an answer names another id than was asked for; one without an id may be ours.

    A cache that mixes answers up would give us somebody else's picture for ours.
    """
    if given is not None and given != "" and upstream_ids.folded(text_of(given)) != upstream_ids.folded(asked):
        raise UnreadableError("an answer about another id")


def same_words(said: Any, asked: Any) -> bool:
    """Tell whether two prompts are the same but for their spaces, which a provider may tidy."""
    return isinstance(said, str) and isinstance(asked, str) and said.split() == asked.split()


def similar_words(said: Any, asked: Any) -> bool:
    """Tell whether `said` may be an echo of `asked` that its provider cut or typed differently; so may one unseen."""
    if not isinstance(said, str) or not isinstance(asked, str):
        return True
    first, second = _plain(said), _plain(asked)
    return first.startswith(second) or second.startswith(first)


def _plain(text: str) -> str:
    """Return the letters and digits of a text in one form, without case, accents' own marks, quotes and spaces."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return "".join(mark for mark in folded if mark.isalnum())


def link_of(value: Any, base_url: str) -> str:
    """Return a link as it is, since its signature may cover every character; a relative one is joined to `base_url`.

    White space around it, and line breaks and tabs in it, are no part of any URL (WHATWG URL, 4.4). Raises
    `UnreadableError` for what cannot be a link.
    """
    value = alone(value)
    value = _BREAKS.sub("", value.strip()) if isinstance(value, str) else value
    if not isinstance(value, str) or not value or DAMAGED in value or _UNSTORABLE.search(value):
        raise UnreadableError("a link that is not text")
    if len(value) > _LINK_CHARS:
        raise UnreadableError(f"a link of more than {_LINK_CHARS} characters")
    try:
        scheme = urlsplit(value).scheme
        joined = value if scheme else urljoin(base_url, value)
    except ValueError:
        raise UnreadableError("a link that is no URL") from None
    if scheme == "data":
        raise UnreadableError("a picture in the place of a link")
    if scheme == OWN_SCHEME:
        raise UnreadableError("a link into our own answers")
    return joined


def usable_link(value: Any, base_url: str) -> str | None:
    """Return a link as `link_of` does; None for what cannot be one."""
    with suppress(UnreadableError):
        return link_of(value, base_url)
    return None


def pixels_of(value: Any) -> int | None:
    """Return a width or height in pixels; None where it cannot be one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_PIXELS else None


def size_of(item: Any) -> tuple[int, int] | None:
    """Return the `width` and `height` that an object states; None where either cannot be read."""
    if not isinstance(item, dict):
        return None
    width, height = pixels_of(item.get("width")), pixels_of(item.get("height"))
    return (width, height) if width and height else None


def is_page(body: bytes) -> bool:
    """Tell whether a body is markup, such as an HTML page: the word of a gateway, not of a provider."""
    return body[:_START_BYTES].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<")


def _looks_like(body: bytes) -> str:
    if not body.strip():
        return "an empty body"
    return "an HTML page" if is_page(body) else "something unreadable"
