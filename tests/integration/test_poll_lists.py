"""Lists of many pictures that fail: each picture's own request may not, so some are asked for by themselves."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from shared.db.engine import Engine
from shared.lifecycle import ImageState, Outcome, Stage
from tests.integration.test_poll import pending
from tests.support import rows
from tests.support.drain import run_stage
from worker.claiming import Parcel
from worker.providers.contract import Refused, RetryRule, UpstreamImage
from worker.runtime import Runtime
from worker.stages.look_requests import SINGLES

FAILED = {
    "HTTP 500": Refused(Outcome.UNKNOWN, RetryRule.AFTER, "provider_error", "HTTP 500", http_status=500),
    "HTTP 403": Refused(Outcome.REJECTED, RetryRule.AFTER, "provider_error", "HTTP 403", http_status=403),
    "unreadable": Refused(Outcome.UNKNOWN, RetryRule.AFTER, "answer_unreadable", "a bad byte", http_status=200),
}
EVERYWHERE = {
    "HTTP 401": Refused(Outcome.REJECTED, RetryRule.RESUME, "account_unauthorized", "HTTP 401", http_status=401),
    "HTTP 429": Refused(Outcome.REJECTED, RetryRule.AFTER, "rate_limited", "HTTP 429", http_status=429),
    "unreachable": Refused(Outcome.NOT_SENT, RetryRule.AFTER, "provider_unreachable", "no connection"),
}
Answers = Callable[[str], UpstreamImage | Refused]
Answer = dict[str, UpstreamImage] | Refused


def there(upstream_id: str) -> UpstreamImage:
    """What ends a picture without a download."""
    return UpstreamImage(ImageState.UPSTREAM_ONLY, upstream_id)


def polled(runtime: Runtime, engine: Engine, refused: Refused, own: Answers = there) -> list[str]:
    """Poll what is due while every list is `refused`; return the pictures that were asked for by themselves."""
    singles: list[str] = []

    def answer(upstream_ids: Sequence[str]) -> Answer:
        if len(upstream_ids) > 1:
            return refused
        singles.extend(upstream_ids)
        told = own(upstream_ids[0])
        return told if isinstance(told, Refused) else {upstream_ids[0]: told}

    poll_answered(runtime, engine, answer)
    return singles


def poll_answered(runtime: Runtime, engine: Engine, answer: Callable[[Sequence[str]], Answer]) -> None:
    """Poll what is due at a provider that answers so."""
    account = runtime.accounts["bloom"]

    class Told(type(account.wire)):  # type: ignore[misc]
        async def poll(self, upstream_ids: Sequence[str]) -> Answer:
            return answer(upstream_ids)

    runtime.accounts["bloom"] = replace(account, wire=Told(cast("Any", account.wire)._settings))
    try:
        run_stage(runtime, Parcel(Stage.POLL, "bloom", tuple(rows.claim(engine, "poll", count=100))))
    finally:
        runtime.accounts["bloom"] = account


@pytest.mark.parametrize("why", FAILED)
def test_pictures_whose_list_fails_are_asked_for_by_themselves(runtime: Runtime, engine: Engine, why: str) -> None:
    names = [pending(engine)[0] for _ in range(3)]
    assert sorted(polled(runtime, engine, FAILED[why])) == sorted(names)
    assert rows.states(engine) == {"succeeded": 3}


@pytest.mark.parametrize("why", EVERYWHERE)
def test_a_refusal_that_holds_for_every_request_has_none_asked_for_by_itself(
    runtime: Runtime, engine: Engine, why: str
) -> None:
    pending(engine)
    pending(engine)
    assert polled(runtime, engine, EVERYWHERE[why]) == []
    assert rows.states(engine) == {"pending": 2}


def test_where_one_picture_cannot_be_asked_for_either_no_other_is(runtime: Runtime, engine: Engine) -> None:
    names = [pending(engine)[0] for _ in range(5)]
    (asked,) = polled(runtime, engine, FAILED["HTTP 500"], lambda _: FAILED["HTTP 500"])
    assert asked in names
    found = rows.rows(engine, "SELECT DISTINCT state, error_code, claimed_by FROM job")
    assert found == [("pending", "look_failed", None)]


def test_of_a_long_list_that_fails_a_bounded_part_is_asked_for_and_every_picture_in_time(
    runtime: Runtime, engine: Engine
) -> None:
    names = {pending(engine)[0] for _ in range(SINGLES + 5)}
    seen: set[str] = set()
    for _ in range(200):
        if seen == names:
            break
        rows.rows(engine, "UPDATE job SET due_at = now() WHERE state IN ('pending', 'processing')")
        asked = polled(runtime, engine, FAILED["HTTP 500"], lambda one: UpstreamImage(ImageState.PROCESSING, one))
        assert len(asked) == len(set(asked)) == SINGLES
        seen |= set(asked)
    assert seen == names


def test_the_pictures_of_one_job_are_asked_for_together(runtime: Runtime, engine: Engine) -> None:
    for _ in range(4):
        pending(engine, *[ImageState.PENDING] * 8)
    polled(runtime, engine, FAILED["HTTP 500"])
    assert rows.states(engine).get("succeeded", 0) >= 1


def told_alone(runtime: Runtime, engine: Engine, refused: Refused) -> list[int]:
    """Poll one picture whose own request is `refused` and which its list shows; return how many each request named."""
    asked: list[int] = []

    def answer(upstream_ids: Sequence[str]) -> Answer:
        asked.append(len(upstream_ids))
        return refused if len(upstream_ids) == 1 else {one: there(one) for one in upstream_ids}

    poll_answered(runtime, engine, answer)
    return asked


@pytest.mark.parametrize("why", FAILED)
def test_the_list_is_asked_for_a_lone_picture_whose_own_request_fails(
    runtime: Runtime, engine: Engine, why: str
) -> None:
    pending(engine)
    assert told_alone(runtime, engine, FAILED[why]) == [1, 2]
    assert rows.states(engine) == {"succeeded": 1}


@pytest.mark.parametrize("why", EVERYWHERE)
def test_the_list_is_not_asked_after_a_refusal_that_holds_for_every_request(
    runtime: Runtime, engine: Engine, why: str
) -> None:
    pending(engine)
    assert told_alone(runtime, engine, EVERYWHERE[why]) == [1]
    assert rows.states(engine) == {"pending": 1}
