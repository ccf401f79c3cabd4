"""Threads wait for a few places in the order in which they came."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from producer.client.turnstile import PlaceTimeoutError, Turnstile
from tests.support.waiting import until


def test_who_waits_longest_is_next_and_whoever_comes_again_waits_behind() -> None:
    turnstile, order = Turnstile(1), list[int]()

    def come(number: int) -> None:
        for _ in range(2):
            with turnstile.place(10):
                order.append(number)

    with ThreadPoolExecutor(5) as threads, turnstile.place(10):
        for number in range(5):
            threads.submit(come, number)
            until(lambda: len(turnstile._waiting) == number + 1)  # noqa: B023 - asked at once
    assert order[:5] == list(range(5))
    assert sorted(order) == sorted([*range(5)] * 2)


def test_no_more_threads_are_in_than_there_are_places() -> None:
    turnstile, most, inside = Turnstile(3), [0], list[int]()

    def come(number: int) -> None:
        for _ in range(50):
            with turnstile.place(10):
                inside.append(number)
                most[0] = max(most[0], len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(come, range(8)))
    assert 1 <= most[0] <= 3


def test_who_waits_too_long_is_told_and_takes_no_place_afterwards() -> None:
    turnstile, may_leave = Turnstile(1), threading.Event()

    def hold() -> None:
        with turnstile.place(10):
            may_leave.wait(10)

    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(hold)
        until(lambda: turnstile._free == 0)
        with pytest.raises(PlaceTimeoutError, match=r"within 0\.05 seconds"), turnstile.place(0.05):
            pass
        may_leave.set()
        held.result()
    with turnstile.place(0):
        pass


def test_a_place_that_comes_as_its_thread_gives_up_is_taken() -> None:
    turnstile = Turnstile(1)
    with turnstile.place(0):
        mine = turnstile._join()
    assert mine is not None
    assert mine.is_set()
    assert not turnstile._withdraw(mine)


def test_a_thread_that_has_a_place_needs_no_other() -> None:
    turnstile = Turnstile(1)
    with turnstile.place(0), turnstile.place(0):
        pass
    with turnstile.place(0):
        pass


def test_an_error_inside_gives_the_place_back() -> None:
    turnstile = Turnstile(1)
    with pytest.raises(ValueError, match="of its own"), turnstile.place(0):
        raise ValueError("of its own")
    with turnstile.place(0):
        pass
