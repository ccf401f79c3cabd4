"""The event loop of a worker's stages: uvloop, which is written in C on libuv.

It costs a job less CPU than asyncio's own loop, which is Python.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

_BACKEND: Final[dict[str, Any]] = {"use_uvloop": True}
_T = TypeVar("_T")
# libuv looks names up in half of its threads. By default they are four: two names whose servers do not answer would
# hold the look-ups of every other provider, host and bucket. It reads this at its first look-up.
os.environ.setdefault("UV_THREADPOOL_SIZE", "64")


def run(work: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
    """Run `work(*arguments)` on a loop of its own and return its result; raises what it raises."""
    return anyio.run(work, *arguments, backend_options=_BACKEND)


def portal(name: str) -> AbstractContextManager[BlockingPortal]:
    """Return a loop in a thread called `name`; it ends with the context."""
    return start_blocking_portal("asyncio", _BACKEND, name=name)
