"""A batch as server-sent events: its counts whenever they change, until it has settled (WHATWG HTML, section 9.2)."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Final

import anyio
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from producer.api.access import Caller, SeenTokens, needs
from producer.api.batches import looked_at
from producer.api.jobs import batch_name
from producer.api.paths import NAME
from producer.api.problems import ProblemError
from producer.api.shown import BatchShown
from producer.client import NoSuchBatchError
from producer.json_lines import one_line
from shared.db.engine import DatabaseUnavailableError
from shared.tokens import Scope

router = APIRouter(tags=["batches"])
_LOOK_SECONDS: Final = 1.0
_BEAT_SECONDS: Final = 15.0
"""A comment as often as this keeps proxies from taking a quiet stream for a dead one."""
_MOST_SECONDS: Final = 600.0
MOST_STREAMS: Final = 4
"""Streams that one token may hold open."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would hold events back
Look = Callable[[], BatchShown]
Trusted = Callable[[], Awaitable[bool]]


@router.get(
    f"/v1/batches/{{name:{NAME}}}/events",
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    response_class=StreamingResponse,
)
async def get_events(request: Request, caller: Annotated[Caller, needs(Scope.JOBS_READ)], name: str) -> Response:
    """Follow a batch: an event `progress` with its document when a count changes, at most one a second, then `settled`.

    The stream ends after ten minutes at the latest, and with its token: open it again. A token may follow four
    batches at once.
    """
    look = partial(looked_at, caller, batch_name(caller, name))
    first = await run_in_threadpool(look)
    open_now: Counter[str] = request.app.state.streams
    if open_now[caller.token.id] >= MOST_STREAMS:
        raise ProblemError("rate_limited", f"at most {MOST_STREAMS} streams at once", headers={"Retry-After": "10"})
    return _Counted(_events(first, look, partial(_trusted, request)), open_now, caller.token.id)


class _Counted(StreamingResponse):
    """A stream that counts as open for as long as it is sent, however it ends."""

    def __init__(self, events: AsyncIterator[str], open_now: "Counter[str]", token: str) -> None:
        super().__init__(events, media_type="text/event-stream", headers=_HEADERS)
        self._open_now = open_now
        self._token = token

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send it; the server's own watch ends it when the caller goes."""
        self._open_now[self._token] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._open_now[self._token] -= 1


async def _events(first: BatchShown, look: Look, trusted: Trusted) -> AsyncIterator[str]:
    seen, told = first, time.monotonic()
    end = told + _MOST_SECONDS
    yield _event(first)
    while not seen.settled and time.monotonic() < end:
        await anyio.sleep(_LOOK_SECONDS)
        if not await trusted():
            return
        try:
            now = await _looked(look, seen)
        except NoSuchBatchError:
            return  # it has left the database
        if now != seen:
            seen, told = now, time.monotonic()
            yield _event(now)
        elif time.monotonic() - told >= _BEAT_SECONDS:
            told = time.monotonic()
            yield ": still here\n\n"


async def _trusted(request: Request) -> bool:
    """Tell whether the stream's token lives, as far as the database can say: without it there is no news either."""
    tokens: SeenTokens = request.app.state.tokens
    try:
        return await tokens.is_trusted(request)
    except DatabaseUnavailableError:
        return True


async def _looked(look: Look, seen: BatchShown) -> BatchShown:
    try:
        return await run_in_threadpool(look)
    except DatabaseUnavailableError:
        return seen  # it may come back; the caller keeps what it knows


def _event(document: BatchShown) -> str:
    return f"event: {'settled' if document.settled else 'progress'}\ndata: {one_line(document.model_dump_json())}\n\n"
