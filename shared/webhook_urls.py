"""Which URLs a webhook may have: those that a worker can post to, as far as their text shows."""

import re
from typing import Any, Final

MOST_CHARS: Final = 2000
_LAST_PORT: Final = 65_535
_NAME: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.IGNORECASE)


def url_complaint(url: str) -> str | None:
    """Say why nothing can ever be posted to a URL; None if something may be. The answer does not quote it."""
    if not url.startswith(("https://", "http://")) or any(char.isspace() or not char.isprintable() for char in url):
        return "begins with https:// and has no spaces"
    if len(url) > MOST_CHARS:
        return f"has at most {MOST_CHARS} characters"
    import httpx  # noqa: PLC0415 - the parser with which workers read it; most commands need none

    try:
        return _complaint(httpx.URL(url))
    except (httpx.InvalidURL, ValueError):
        return "must be a URL that can be read"


def _complaint(parsed: Any) -> str | None:
    if not _NAME.fullmatch(parsed.raw_host.decode("ascii")):
        return "names a host"
    if parsed.userinfo:
        return "holds no user name and no password"
    if parsed.port is not None and not 0 < parsed.port <= _LAST_PORT:
        return f"has a port from 1 to {_LAST_PORT}"
    return None
