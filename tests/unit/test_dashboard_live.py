"""The feed of live pages: one reading for all viewers, only changes, and an end when nobody looks."""

import asyncio
import json

from ops.dashboard.live import Feed, Topic
from ops.dashboard.sessions import EVERYTHING
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
