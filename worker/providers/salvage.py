"""What can still be seen in a success that cannot be read, at a provider that cannot be asked again."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any, Final

from worker.providers.reading import UnreadableError, is_page, read_json, usable_link

_MOST_LINKS: Final = 10
_MOST_ENDS: Final = 4
_CLOSERS: Final = (b"]}", b"}")
# A whole string that begins as a link, with the name before it, if it has one.
_LINK: Final = re.compile(r'(?:"(\w{1,40})"\s*:\s*)?"(https?:(?:\\?/){2}(?:[^"\\\r\n]|\\.){1,20000})"', re.IGNORECASE)
_PLAIN_NAMES: Final = ("url", None)


def closed(body: bytes) -> Any:
    """Return the JSON object that breaks off in `body`, closed after one of its last whole parts.

    Raises `UnreadableError`.
    """
    end = len(body)
    for _ in range(_MOST_ENDS):
        end = body.rfind(b"}", 0, end)
        for closer in _CLOSERS if end >= 0 else ():
            with suppress(UnreadableError):
                return read_json(body[: end + 1] + closer)
    raise UnreadableError("nothing whole in what broke off")


def links_in(body: bytes, *, sent: Any, base_url: str) -> tuple[str, ...]:
    """Return the whole links that stand in `body`, without those that were sent: what is called a url comes first.

    A page of a gateway has links of its own, and none of ours.
    """
    if is_page(body):
        return ()
    known = set(_texts(sent))
    named = [(found[1], link) for found in _LINK.finditer(body.decode("utf-8", "replace")) for link in _read(found[2])]
    named.sort(key=lambda one: one[0] not in _PLAIN_NAMES)
    links = (usable_link(link, base_url) for _, link in named if link not in known)
    return tuple(dict.fromkeys(filter(None, links)))[:_MOST_LINKS]


def _read(quoted: str) -> Iterator[str]:
    with suppress(ValueError):
        yield json.loads(f'"{quoted}"')


def _texts(value: Any) -> Collection[str]:
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return {text for one in inner for text in _texts(one)}
