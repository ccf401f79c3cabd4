"""Text of a provider's as we keep it: without our key in any form, without signed queries, on one printable line.

What is kept ends in rows, events, logs and terminals. A provider, or whoever stands in its place, may quote the key
that it was sent, in the form in which it saw it.
"""

import base64
import html
import re
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

KEY_MARK: Final = "<the API key>"
MESSAGE_CHARS: Final = 500
_CONSIDERED_CHARS: Final = 8 * MESSAGE_CHARS  # what may be left of a text once keys, queries and noise are out of it
_URL_CHARS: Final = 2048
_LEAST_BASE64: Final = 8  # characters; shorter ones are in any text
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
# Direction marks, zero-width and other invisible characters: they reorder what a terminal shows, or split a word.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U000e0000-\U000e0fff]+"
)
# Controls (C0, C1), line and paragraph separators, and halves of characters.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_QUERY: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s?#\"'<>\\]*)[?#][^\s\"'<>\\]*", re.IGNORECASE)
_BARE_QUERY: Final = re.compile(r"\?[^\s\"'<>\\?=]{1,200}=[^\s\"'<>\\]*")
_ESCAPED_QUERY: Final = re.compile(r"%(?:25)*3f[^\s\"'<>\\]{1,2000}", re.IGNORECASE)  # of a URL within a URL
_USER_INFO: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/?#\"'<>\\]*@", re.IGNORECASE)


def redacted(text: str, key: SecretStr) -> str:
    """Return the first few thousand characters of `text` without our key, in any form in which it may be quoted.

    Known are the key itself in any case, escaped for URLs, JSON or HTML, in hexadecimal and in base64. Apply it before
    any cut: half a key is found by nobody.
    """
    secret = key.get_secret_value()
    text = _INVISIBLE.sub("", text)[: 4 * _CONSIDERED_CHARS]
    if not secret:
        return text[:_CONSIDERED_CHARS]
    pieces, at = [], 0
    for found in _forms(secret).finditer(text):
        start, end = found.span()
        if found.lastgroup == "base64":
            start, end = _token(text, start, end)
        if start >= _CONSIDERED_CHARS:
            break
        if end > at:
            pieces += [text[at : max(start, at)], KEY_MARK]
            at = end
    return "".join(pieces) + text[at : max(_CONSIDERED_CHARS, at)]


def line_of(value: Any, key: SecretStr, *, most: int = MESSAGE_CHARS) -> str | None:
    """Return text or a number as one printable line of at most `most` characters; None for anything else.

    Our key is taken out of it first, then the query and the user of every URL.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    line = _UNPRINTABLE.sub(" ", redacted(str(value), key))
    line = _USER_INFO.sub(r"\1", line)
    line = _ESCAPED_QUERY.sub("?...", _BARE_QUERY.sub("?...", _QUERY.sub(r"\1?...", line)))
    return line.strip()[:most].strip() or None


def web_address(value: Any, key: SecretStr) -> str | None:
    """Return a link for a person to follow: http or https, without a user in it, and without our key; else None."""
    if not isinstance(value, str) or len(value) > _URL_CHARS:
        return None
    link = redacted(value, key)
    if not link.isprintable() or any(character.isspace() or character in "\\\"'<>`" for character in link):
        return None
    try:
        parts = urlsplit(link)
        plain = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
    except ValueError:
        return None
    return link if plain else None


def _token(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a match to the whole run of base64 that it stands in: what stands beside it holds the key's ends."""
    while start > 0 and text[start - 1] in _BASE64:
        start -= 1
    while end < len(text) and text[end] in _BASE64:
        end += 1
    return start, end


@lru_cache(maxsize=64)
def _forms(secret: str) -> re.Pattern[str]:
    plain = "".join(map(_character, secret))
    spelled = r"(?:[\s:,-]|0x|\\x)?".join(f"{byte:02x}" for byte in secret.encode())
    coded = "|".join(map(re.escape, _base64_cores(secret))) or "(?!)"
    return re.compile(f"(?i:{plain}|{spelled})|(?P<base64>{coded})")


def _character(one: str) -> str:
    """Return a pattern for one character of a key as URLs, JSON, HTML and shells may write it."""
    code = ord(one)
    named = html.escape(one, quote=True)
    forms = {
        re.escape(one),
        f"%(?:25)*{code:02x}",
        f"\\\\+u0*{code:02x}",
        f"\\\\+x{code:02x}",
        f"&\\#x0*{code:x};",
        f"&\\#0*{code};",
        f"\\\\+{re.escape(one)}" if not one.isalnum() else re.escape(one),
        re.escape(named),
    }
    return f"(?:{'|'.join(sorted(forms))})"


def _base64_cores(secret: str) -> list[str]:
    """Return what any base64 of a text with the key in it must contain: one piece for each alignment and alphabet."""
    cores = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret.encode()).decode("ascii")
        core = whole[-(-before * 8 // 6) : (before + len(secret.encode())) * 8 // 6]
        if len(core) >= _LEAST_BASE64:
            cores += [core, core.replace("+", "-").replace("/", "_")]
    return list(dict.fromkeys(cores))
