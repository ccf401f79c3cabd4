"""A host that sends too slowly: its downloads go on one at a time, and end nothing while a link lives."""

from collections.abc import Iterator

import pytest

from shared.db.engine import Engine
from tests.integration.test_downloads import bought, fetch_once, look
from tests.support.drain import drain
from tests.support.image_host import Answer, ImageHost, serving_images
from worker.runtime import Runtime

JOBS = 3


@pytest.fixture
def slow() -> Iterator[ImageHost]:
    with serving_images(Answer(pieces=6)) as running:
        yield running


@pytest.fixture
def runtime(runtime: Runtime) -> Runtime:
    runtime.fetcher._least_speed, runtime.fetcher.grace_seconds = 10**6, 0.2
    return runtime


def test_a_download_that_is_too_slow_ends_nothing_and_says_so(
    runtime: Runtime, engine: Engine, slow: ImageHost
) -> None:
    job = bought(engine, slow)
    for _ in range(runtime.settings.fetch_tries + 1):  # each time as in a new process, which knows nothing of the host
        row = fetch_once(runtime, engine, job)
        assert (row.state, row.image_state, row.error_code) == ("transferring", "ready", "result_too_slow")
        assert "127.0.0.1: only" in row.error


def test_downloads_of_a_slow_host_go_on_one_at_a_time_until_they_are_whole(
    runtime: Runtime, engine: Engine, slow: ImageHost
) -> None:
    jobs = [bought(engine, slow) for _ in range(JOBS)]
    drain(runtime, lambda: all(look(engine, job).state == "succeeded" for job in jobs))
    assert {look(engine, job).image_state for job in jobs} == {"stored"}
    assert len(slow.asked) == 2 * JOBS  # once each to find out, and once each in the lane
    assert slow.beside[-2:] == [0, 0]


def test_an_image_whose_link_is_about_to_end_does_not_wait_for_the_lane(
    runtime: Runtime, engine: Engine, slow: ImageHost
) -> None:
    jobs = [bought(engine, slow, life="60 seconds") for _ in range(JOBS)]
    drain(runtime, lambda: all(look(engine, job).state == "succeeded" for job in jobs))
    assert max(slow.beside[-JOBS:]) > 0
