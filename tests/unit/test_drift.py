"""What a span of balance readings says: exact, explained by held money or calls in the air, or drift."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from shared.db.payments.drift import BalanceFigure, BalanceSpan, FigureVerdict, _is_better_base


def reading(balance: int | str, **given: Any) -> BalanceFigure:
    sums = {"settled": 0, "held": 0, "held_ever": 0, "in_air": 0, "just_settled": 0}
    amounts: dict[str, Any] = {name: Decimal(given.pop(name, amount)) for name, amount in sums.items()}
    counts: dict[str, Any] = {"unpriced_held": 0, "unpriced_in_air": 0, "unpriced_settled": 0, **given}
    return BalanceFigure(at=datetime(2026, 1, 1, tzinfo=UTC), balance=Decimal(balance), **amounts, **counts)


def span(base: BalanceFigure, last: BalanceFigure) -> BalanceSpan:
    return BalanceSpan("bloom", "credit", base, last, current=True)


BASE = reading(100, settled=7)


@pytest.mark.parametrize(
    ("last", "verdict", "difference", "drift"),
    [
        (reading(100, settled=7), FigureVerdict.EXACT, 0, 0),
        (reading(95, settled=12), FigureVerdict.EXACT, 0, 0),
        (reading(93, settled=12), FigureVerdict.MORE, 2, 2),
        (reading(97, settled=12), FigureVerdict.LESS, -2, -2),
        (reading(92, settled=12, held=3, held_ever=3), FigureVerdict.EXPLAINED, 3, 0),
        (reading(90, settled=12, held=3, held_ever=3), FigureVerdict.MORE, 5, 2),
        (reading(92, settled=12, in_air=3), FigureVerdict.EXPLAINED, 3, 0),
        (reading(97, settled=12, just_settled=2), FigureVerdict.EXPLAINED, -2, 0),
        (reading(90, settled=12, unpriced_held=1), FigureVerdict.OPEN, 5, 5),
        (reading(90, settled=12, unpriced_in_air=1), FigureVerdict.OPEN, 5, 5),
    ],
)
def test_a_difference_is_drift_as_far_as_nothing_held_or_in_the_air_explains_it(
    last: BalanceFigure, verdict: FigureVerdict, difference: int, drift: int
) -> None:
    found = span(BASE, last)
    assert (found.verdict, found.difference, found.drift) == (verdict, difference, drift)
    assert found.expected - found.last.balance == found.explained + found.drift


@pytest.mark.parametrize(
    ("base", "last", "spent", "verdict", "drift"),
    [
        ("9.9", "9.69999999999999996", "0.2", FigureVerdict.EXACT, "0"),
        ("9.9", "9.70000000000000004", "0.2", FigureVerdict.EXACT, "0"),
        ("9.9", "9.699999", "0.2", FigureVerdict.MORE, "0.000001"),
        ("100.00", "99.96", "0.035", FigureVerdict.EXACT, "0"),  # cents, and calls that cost parts of one
        ("100.00", "99.97", "0.035", FigureVerdict.EXACT, "0"),
        ("100.00", "99.95", "0.035", FigureVerdict.MORE, "0.015"),
        ("100.00", "99.95", "0.04", FigureVerdict.MORE, "0.01"),  # calls that cost whole cents
        ("100.000", "99.96", "0.035", FigureVerdict.MORE, "0.005"),  # a balance told finer than in cents
        ("100", "99.9", "0.035", FigureVerdict.MORE, "0.065"),
        ("100", "99", "0.035", FigureVerdict.MORE, "0.965"),
    ],
)
def test_what_the_digits_of_a_balance_cannot_show_is_no_drift_and_all_else_is(
    base: str, last: str, spent: str, verdict: FigureVerdict, drift: str
) -> None:
    found = span(reading(base), reading(last, settled=spent))
    assert (found.verdict, found.drift) == (verdict, Decimal(drift))


def test_rounding_beside_held_money_is_no_drift_either() -> None:
    found = span(reading("9.9"), reading("9.59999999999999996", settled="0.2", held="0.1", held_ever="0.1"))
    assert (found.verdict, found.drift) == (FigureVerdict.EXPLAINED, 0)


def test_money_held_since_before_the_base_explains_nothing_new() -> None:
    base = reading(100, held=5, held_ever=5)
    assert span(base, reading(95, held=5, held_ever=5)).verdict is FigureVerdict.MORE


def test_a_held_call_from_before_the_base_that_proves_paid_takes_nothing_more() -> None:
    base = reading(100, held=5, held_ever=5)
    found = span(base, reading(100, settled=5, held=0, held_ever=5))
    assert (found.verdict, found.by_held) == (FigureVerdict.EXPLAINED, True)


def test_a_held_call_that_was_released_explains_nothing_any_more() -> None:
    assert span(BASE, reading(95, settled=7, held=0, held_ever=5)).verdict is FigureVerdict.MORE


def test_a_call_in_the_air_at_the_base_may_have_been_charged_before() -> None:
    found = span(reading(95, in_air=5), reading(95, settled=5))
    assert (found.verdict, found.by_held) == (FigureVerdict.EXPLAINED, False)


@pytest.mark.parametrize(
    ("base", "now", "better"),
    [
        (reading(95, in_air=5), reading(95, settled=5), True),
        (reading(95, in_air=5), reading(89, settled=5), False),  # drift must not be forgotten
        (reading(95, in_air=5), reading(95, settled=5, in_air=1), False),
        (reading(95), reading(95), False),
        (reading(95, unpriced_in_air=1), reading(90, settled=2), True),
    ],
)
def test_a_base_with_calls_in_the_air_gives_way_to_a_clean_one_that_hides_nothing(
    base: BalanceFigure, now: BalanceFigure, *, better: bool
) -> None:
    assert _is_better_base("bloom", base, now) is better
