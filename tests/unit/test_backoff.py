"""The wait between two looks."""

from random import Random

import pytest

from shared.backoff import delay


def waits(tries: int) -> list[float]:
    random = Random(1)
    return [delay(tries, first_seconds=2, max_seconds=30, random=random) for _ in range(200)]


@pytest.mark.parametrize(("tries", "longest"), [(0, 2), (2, 4), (4, 8), (8, 30), (61, 30), (10**9, 30)])
def test_it_doubles_every_second_try_and_never_exceeds_the_cap(tries: int, longest: float) -> None:
    assert max(waits(tries)) <= longest
    assert min(waits(tries)) >= longest * 0.8


def test_jobs_that_began_together_do_not_ask_together() -> None:
    assert len({round(wait, 6) for wait in waits(4)}) > 190
