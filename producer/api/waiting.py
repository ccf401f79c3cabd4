"""Waiting for a change (`Prefer: wait=N`): cheap looks at the database that hold no thread between them."""

import re
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import anyio
from fastapi import Depends, Header, Request
from starlette.concurrency import run_in_threadpool

from producer.api.access import SeenTokens
from producer.api.problems import ProblemError

_MOST_SECONDS: Final = 60
_MOST_WAITERS: Final = 500
"""Requests that one process lets wait; beyond them, a request is answered at once."""
_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 1.0
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,4})")
_Seen = TypeVar("_Seen")


def wanted_seconds(
    prefer: Annotated[str | None, Header(description="wait=N: answer after up to N seconds, at most 60")] = None,
) -> int:
    """Return how many seconds a caller wants to wait; 0 if it does not say."""
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), _MOST_SECONDS) if found else 0


WAIT: Final[Any] = Depends(wanted_seconds)
"""A dependency: how many seconds the caller wants to wait."""


async def until(request: Request, seconds: int, look: Callable[[], _Seen], done: Callable[[_Seen], bool]) -> _Seen:
    """Return what `look` sees once it is `done`, or after `seconds`; sooner if the caller has gone.

    Raises `ProblemError` if the caller's token ends meanwhile.
    """
    state = request.app.state
    tokens: SeenTokens = state.tokens
    end = time.monotonic() + seconds
    pause = _FIRST_SECONDS
    seen = await run_in_threadpool(look)
    state.waiters += 1
    try:
        while not done(seen) and time.monotonic() < end and state.waiters <= _MOST_WAITERS:
            await anyio.sleep(min(pause, max(end - time.monotonic(), 0)))
            if await request.is_disconnected():
                break
            if not await tokens.is_trusted(request):
                raise ProblemError("token_invalid")
            seen = await run_in_threadpool(look)
            pause = min(pause * 1.5, _LONGEST_SECONDS)
    finally:
        state.waiters -= 1
    return seen


def applied(seconds: int) -> dict[str, str]:
    """Return the header that says that the wait was taken into account."""
    return {"Preference-Applied": f"wait={seconds}"} if seconds else {}


def matches(if_none_match: str | None, etag: str) -> bool:
    """Tell whether the caller has this version already (RFC 9110, weak comparison)."""
    given = [one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")]
    return "*" in given or etag in given
