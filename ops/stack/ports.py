"""TCP ports on 127.0.0.1 that nothing else uses."""

import random
import socket
from pathlib import Path

from ops.stack.errors import StackError

LOOPBACK = "127.0.0.1"
LOWEST = 10_000
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 200


def is_free(port: int) -> bool:
    """Say whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection of the last run in TIME_WAIT does not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def usual_port(port: int) -> int:
    """Return `port` if it is free, else one that is: what people keep as a bookmark should lead there again."""
    return port if is_free(port) else free_port(set())


def free_port(avoid: set[int]) -> int:
    """Find a free port below the kernel's ephemeral range.

    Inside that range a client that keeps reconnecting to a stopped server can be given the server's own port
    as its source: it connects to itself, and the server can no longer start.
    """
    highest = _ephemeral_start() - 1
    if highest < LOWEST + TRIES:
        highest = 65_535
    for port in random.SystemRandom().sample(range(LOWEST, highest), TRIES):
        if port not in avoid and is_free(port):
            return port
    raise StackError(f"no free port on {LOOPBACK} between {LOWEST} and {highest}: stop what uses them")


def _ephemeral_start() -> int:
    try:
        return int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
