"""Which names a server on this machine answers to.

A web page can have its own name resolved to this machine and then read what a server without a password says, unless
the server looks under which name it is asked.
"""

import ipaddress
from collections.abc import Collection


def is_known(host: str, names: Collection[str]) -> bool:
    """Tell whether a `Host` header names an address, localhost or one of `names` (lower case); the port may be any."""
    name = _without_port(host).lower()
    if name in names or name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True  # nobody can have an address resolved to another


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
