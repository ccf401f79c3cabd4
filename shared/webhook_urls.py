"""Whether a webhook's URL is one that a worker could ever post to; what a worker's settings allow is judged there."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_LAST_PORT: Final = 65_535


def check_url(url: str) -> None:
    """Raise `ValueError`, which quotes nothing of the URL, unless it is http or https to a host that can exist."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("the URL cannot be read: its host or port is none") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("the URL must be http or https, and name a host")
    if port is not None and not 0 < port <= _LAST_PORT:
        raise ValueError(f"the URL's port is not between 1 and {_LAST_PORT}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL holds credentials, which are never sent")
    if not _is_host(host):
        raise ValueError("the URL's host is neither a name nor an address")


def _is_host(host: str) -> bool:
    if not host.isascii():
        return True  # a name in another script, which is encoded where it is looked up
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _NAME.fullmatch(host) is not None
    return True
