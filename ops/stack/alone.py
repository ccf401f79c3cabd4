"""The database for one command while no supervisor runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ops.stack.endpoints import Endpoints
from ops.stack.errors import HomeBusyError
from ops.stack.home import Home
from ops.stack.stack import Stack

WAIT_SECONDS = 15.0
POLL_SECONDS = 0.1


@contextmanager
def database_alone(home: Home, wait_seconds: float = WAIT_SECONDS) -> Iterator[Endpoints]:
    """Run PostgreSQL, and nothing else, as long as the context lasts; join a supervisor if one has come up.

    When another command does the same, waits ``wait_seconds`` for its end, then raises HomeBusyError.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        if joined := home.running():
            yield joined
            return
        stack = Stack(home, ("postgres",), one_command=True, wait_seconds=0.0)
        try:
            endpoints = stack.start()
        except HomeBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
            continue
        try:
            yield endpoints
        finally:
            stack.stop()
        return
