"""Learned times: looks come when results are likely, for models that take seconds or minutes, and when that changes."""

from collections import deque
from dataclasses import replace
from math import log
from random import Random
from statistics import mean, median

import pytest

from shared.db.jobs.model_times import MOST
from shared.lifecycle import ImageState
from shared.settings import Settings
from tests.unit.test_next_step import POLICY, Looked, Picture
from worker import next_step
from worker.next_step import DecisionInputs
from worker.next_step.learned import LEAST_SECONDS, LearnedTime, Span

SETTINGS = Settings()
MODEL = "swift"


class Provider:
    """Draws log-normal latencies, which a test shifts; the worker sees only what its looks show."""

    def __init__(self, usual: float, spread: float = 0.3) -> None:
        self.usual = usual
        self._spread, self._random = spread, Random(7)
        self._spans: deque[Span] = deque(maxlen=MOST)
        self._looks: list[int] = []
        self._lags: list[float] = []

    def policy(self) -> DecisionInputs:
        times = {MODEL: LearnedTime(list(self._spans))} if self._spans else {}
        return replace(POLICY, settings=SETTINGS, random=self._random, times=times)

    def run(self, jobs: int) -> tuple[float, float]:
        """Run jobs one after the other; return the median lag in seconds and the looks a job."""
        self._looks, self._lags = [], []
        for _ in range(jobs):
            self._one(self._random.lognormvariate(log(self.usual), self._spread))
        return median(self._lags), mean(self._looks)

    def _one(self, ready: float) -> None:
        step = next_step.after_purchase(self.policy(), Looked().claim, [Picture(ImageState.PENDING)], model=MODEL)
        before, age, looks = 0.0, step.due_seconds or 0.0, 1
        while age < ready:
            job = Looked(job_tries=looks - 1, model=MODEL, age_seconds=age)
            step = next_step.after_look(self.policy(), job, [Picture(ImageState.PENDING)])
            before, age, looks = age, age + (step.due_seconds or 0.0), looks + 1
        self._spans.appendleft((before, age))
        self._looks.append(looks)
        self._lags.append(age - ready)


def untaught(usual: float) -> tuple[float, float]:
    """Return what the same jobs cost a worker that learns nothing."""
    provider = Provider(usual)
    provider.policy = lambda: replace(POLICY, settings=SETTINGS, random=Random(7))  # type: ignore[method-assign]
    return provider.run(400)


# A model of three seconds is asked for more often than by waits that begin with two seconds: a page asks for many jobs.
@pytest.mark.parametrize(("usual", "most_looks"), [(3.0, 2.0), (20.0, 1.15), (60.0, 0.8)])
def test_what_is_learned_brings_images_sooner_with_a_bounded_number_of_looks(usual: float, most_looks: float) -> None:
    provider = Provider(usual)
    provider.run(2 * MOST)
    lag, looks = provider.run(400)
    lag_before, looks_before = untaught(usual)
    assert lag < lag_before / 1.5
    assert looks < looks_before * most_looks


def test_a_model_of_ten_minutes_is_asked_for_half_as_often() -> None:
    provider = Provider(600.0, spread=0.2)
    provider.run(2 * MOST)
    lag, looks = provider.run(200)
    assert lag <= SETTINGS.poll_max_seconds
    assert looks < untaught(600.0)[1] / 2


@pytest.mark.parametrize("shift", [3.0, 1 / 3])
@pytest.mark.parametrize("usual", [3.0, 20.0, 60.0])
def test_a_shift_that_no_worker_is_told_of_is_learned_within_a_few_hundred_jobs(usual: float, shift: float) -> None:
    provider, settled = Provider(usual), Provider(usual * shift)
    provider.run(300)
    settled.run(300)
    provider.usual *= shift
    provider.run(4 * MOST)
    (lag, looks), (lag_settled, looks_settled) = provider.run(400), settled.run(400)
    assert lag <= lag_settled * 1.3 + LEAST_SECONDS
    assert looks <= looks_settled * 1.3


def test_a_few_jobs_teach_nothing_yet() -> None:
    assert LearnedTime([(1.0, 2.0)] * 7).until_likely(0.0, at_most=30) is None
    assert LearnedTime([(1.0, 2.0)] * 8).until_likely(0.0, at_most=30) is not None


@pytest.mark.parametrize("spans", [[(0.0, 0.0)] * 8, [(5.0, 5.0)] * 8, [(0.0, 1e6)] * 64, [(9.0, 1.0)] * 8])
def test_no_span_however_odd_makes_a_wait_that_is_too_short_or_endless(spans: list[Span]) -> None:
    for age in (0.0, 0.5, 5.0, 1e4, 1e7):
        wait = LearnedTime(spans).until_likely(age, at_most=30)
        assert wait is not None
        assert LEAST_SECONDS <= wait <= 5e5


def test_a_job_that_outlasts_all_known_ones_is_asked_for_less_and_less_often_up_to_the_longest_wait() -> None:
    learned = LearnedTime([(1.0, 2.0)] * 20)
    waits = [learned.until_likely(age, at_most=30) for age in (3.0, 30.0, 100.0, 1000.0)]
    assert waits == [LEAST_SECONDS, 4.5, 15.0, 30.0]
