"""Live pages: one loop in this process reads for all viewers; a stream carries a part of a page when it changes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from ops.dashboard.page import Dashboard, context, of
from ops.dashboard.pages import LIVE
from ops.dashboard.sessions import Person, Right
from shared.db.engine import DatabaseUnavailableError

_log = structlog.get_logger(__name__)
EVERY_SECONDS: Final = 1.0
_MOST_STREAMS: Final = 200
_SILENCE_SECONDS: Final = 15.0
"""A proxy may end a stream that is silent for longer than its own limit, often a minute."""
_AWAY: Final = "event: away\ndata: the database does not answer\n\n"
_FAILED: Final = "event: away\ndata: this page failed; the dashboard's log says why\n\n"


class Topic(NamedTuple):
    """A part of a page as some people see it: those with the same rights who look at the same address."""

    page: str
    query: str
    rights: frozenset[Right]


@dataclass(slots=True)
class Feed:
    """Renders each topic that has viewers once a second, and hands on what changed. `render` runs in a thread."""

    render: Callable[[Topic], str]
    every_seconds: float = EVERY_SECONDS
    _viewers: dict[Topic, set["asyncio.Queue[str]"]] = field(default_factory=dict)
    _last: dict[Topic, str] = field(default_factory=dict)
    _loop: "asyncio.Task[None] | None" = None

    async def follow(self, topic: Topic) -> AsyncIterator[str | None]:
        """Yield the events of a topic: the newest at once, then each change; None after a silence."""
        mine: asyncio.Queue[str] = asyncio.Queue(1)
        self._viewers.setdefault(topic, set()).add(mine)
        if topic in self._last:
            mine.put_nowait(self._last[topic])
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run())
        try:
            while True:
                try:
                    yield await asyncio.wait_for(mine.get(), _SILENCE_SECONDS)
                except TimeoutError:
                    yield None
        finally:
            self._leave(topic, mine)

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return sum(map(len, self._viewers.values()))

    def _leave(self, topic: Topic, mine: "asyncio.Queue[str]") -> None:
        self._viewers[topic].discard(mine)
        if not self._viewers[topic]:
            del self._viewers[topic]
            self._last.pop(topic, None)

    async def _run(self) -> None:
        while self._viewers:
            for topic in list(self._viewers):
                event = await run_in_threadpool(self._event, topic)
                if topic in self._viewers and self._last.get(topic) != event:
                    self._last[topic] = event
                    for each in self._viewers[topic]:
                        _put_newest(each, event)
            await asyncio.sleep(self.every_seconds)

    def _event(self, topic: Topic) -> str:
        try:
            return f"event: part\ndata: {json.dumps(self.render(topic))}\n\n"
        except DatabaseUnavailableError:
            return _AWAY
        except HTTPException as error:
            return f"event: away\ndata: {json.dumps(str(error.detail))}\n\n"
        except Exception as error:  # noqa: BLE001 - one loop serves all: a defect on one page must not end the others
            if self._last.get(topic) != _FAILED:
                _log.exception("live_page_failed", page=topic.page, error=type(error).__name__)
            return _FAILED


def _put_newest(queue: "asyncio.Queue[str]", event: str) -> None:
    with contextlib.suppress(asyncio.QueueEmpty):
        queue.get_nowait()  # a slow viewer gets the newest alone
    queue.put_nowait(event)


def feed_of(dashboard: Callable[[], Dashboard]) -> Feed:
    """Return the feed of a dashboard."""

    def render(topic: Topic) -> str:
        return part(dashboard(), topic, Person("", topic.rights))

    return Feed(render)


def part(dashboard: Dashboard, topic: Topic, person: Person) -> str:
    """Return the part of a page that is live. Raises as its page does."""
    template, values = LIVE[topic.page]
    query = dict(_pairs(topic.query))
    given = context(dashboard, person, f"/{topic.page}".replace("/now", "/"), query) | values(dashboard, query, person)
    page = dashboard.templates.get_template(template)
    return "".join(page.blocks["live"](page.new_context(given)))


async def stream(request: Request) -> Response:
    """Answer with a stream of events, or with `once=1` the live part as it is now."""
    dashboard = of(request)
    person = await run_in_threadpool(dashboard.require, request, Right.SEE)
    if isinstance(person, Response):
        raise HTTPException(403, "sign in first")
    topic = _topic(request, person)
    if "once" in request.query_params:
        return HTMLResponse(await run_in_threadpool(part, dashboard, topic, person))
    feed: Feed = request.app.state.feed
    if feed.viewers >= _MOST_STREAMS:
        raise HTTPException(503, "too many pages are live")
    return StreamingResponse(
        _events(dashboard, request, feed, topic),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},  # nginx would hold the events back
    )


async def _events(dashboard: Dashboard, request: Request, feed: Feed, topic: Topic) -> AsyncIterator[str]:
    """Yield the events of a topic for as long as their reader may see it: a busy stream is no reason not to look."""
    async for event in feed.follow(topic):
        try:
            if not await run_in_threadpool(_may_see, dashboard, request, topic):
                return
        except DatabaseUnavailableError:
            yield _AWAY
        else:
            yield event or ": still here\n\n"


def _may_see(dashboard: Dashboard, request: Request, topic: Topic) -> bool:
    person = dashboard.person(request)
    return person is not None and person.rights == topic.rights


def _topic(request: Request, person: Person) -> Topic:
    page = request.query_params.get("page", "")
    if page not in LIVE:
        raise HTTPException(404, "this page is not live")
    rest = [(name, value) for name, value in request.query_params.multi_items() if name not in {"page", "once"}]
    return Topic(page, json.dumps(rest), person.rights)


def _pairs(query: str) -> Any:
    return json.loads(query)
