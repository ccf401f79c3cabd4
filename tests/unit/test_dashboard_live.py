"""The feed of live pages: one reading for all viewers, only changes, and an end when nobody looks."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ops.dashboard import live
from ops.dashboard.live import Feed, Topic
from ops.dashboard.sessions import EVERYTHING, Person, Right
from shared.db.engine import DatabaseUnavailableError

TOPIC = Topic("now", "[]", EVERYTHING)


def said(event: str | None) -> str:
    assert event is not None
    return str(json.loads(event.split("data: ", 1)[1]))


def test_viewers_of_one_topic_share_each_reading_and_hear_only_changes() -> None:
    answers = iter(["a", "a", "a", "b"])
    readings: list[Topic] = []

    def render(topic: Topic) -> str:
        readings.append(topic)
        return next(answers, "b")

    async def watch(feed: Feed) -> list[str]:
        heard = []
        async for event in feed.follow(TOPIC):
            heard.append(said(event))
            if heard[-1] == "b":
                break
        return heard

    async def run() -> list[list[str]]:
        feed = Feed(render, every_seconds=0.01)
        heard = await asyncio.gather(*(watch(feed) for _ in range(20)))
        return list(heard)

    assert asyncio.run(run()) == [["a", "b"]] * 20
    assert len(readings) <= 6


def test_the_loop_ends_with_the_last_viewer_and_a_slow_viewer_gets_the_newest() -> None:
    count = iter(range(1000))

    async def run() -> None:
        feed = Feed(lambda _topic: str(next(count)), every_seconds=0.001)
        slow = feed.follow(TOPIC)
        first = int(said(await anext(slow)))
        await asyncio.sleep(0.05)
        assert int(said(await anext(slow))) > first + 1
        await slow.aclose()  # type: ignore[attr-defined]
        assert feed.viewers == 0
        assert feed._loop is not None
        await asyncio.wait_for(feed._loop, 5)

    asyncio.run(run())


def test_a_database_that_does_not_answer_is_told_and_the_stream_goes_on() -> None:
    answers = [DatabaseUnavailableError("away"), None]

    def render(_topic: Topic) -> str:
        error = answers.pop(0) if answers else None
        if error:
            raise error
        return "back"

    async def run() -> list[str | None]:
        feed = Feed(render, every_seconds=0.01)
        stream = feed.follow(TOPIC)
        heard = [await anext(stream), await anext(stream)]
        await stream.aclose()  # type: ignore[attr-defined]
        return heard

    away, back = asyncio.run(run())
    assert away is not None
    assert away.startswith("event: away\n")
    assert said(back) == "back"


def test_a_page_that_fails_for_its_viewers_goes_on_for_all_others() -> None:
    def render(topic: Topic) -> str:
        if topic.page == "broken":
            raise ValueError("a defect of one page")
        return "fine"

    async def run() -> tuple[str | None, str | None]:
        feed = Feed(render, every_seconds=0.01)
        broken, fine = feed.follow(TOPIC._replace(page="broken")), feed.follow(TOPIC)
        heard = await asyncio.wait_for(anext(broken), 5), await asyncio.wait_for(anext(fine), 5)
        await broken.aclose()  # type: ignore[attr-defined]
        await fine.aclose()  # type: ignore[attr-defined]
        return heard

    failed, there = asyncio.run(run())
    assert failed is not None
    assert failed.startswith("event: away\n")
    assert said(there) == "fine"


class _News:
    """A feed that always has news."""

    async def follow(self, _topic: Topic) -> AsyncIterator[str]:
        for number in range(100):
            yield f"event: part\ndata: {number}\n\n"


class _Seen:
    """A dashboard that lets a reader in so many times, then finds what `after` is."""

    def __init__(self, times: int, after: Person | Exception | None) -> None:
        self._answers: list[Person | Exception | None] = [Person("reader", EVERYTHING) for _ in range(times)]
        self._answers += [after] * 100

    def person(self, _request: Any) -> Person | None:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def heard(after: Person | Exception | None) -> list[str]:
    async def run() -> list[str]:
        given: Any = (_Seen(3, after), None, _News(), TOPIC)
        return [event async for event in live._events(*given)]

    return asyncio.run(run())


@pytest.mark.parametrize("after", [None, Person("reader", frozenset({Right.SEE}))])
def test_a_stream_that_always_has_news_ends_when_its_reader_may_not_see_it_any_more(after: Person | None) -> None:
    assert len(heard(after)) == 3


def test_while_nobody_can_say_whether_the_reader_may_see_it_a_stream_has_no_news() -> None:
    away = heard(DatabaseUnavailableError("away"))[3:]
    assert set(away) == {"event: away\ndata: the database does not answer\n\n"}
