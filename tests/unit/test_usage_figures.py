"""How finely a usage figure is stated, and whether a charge of a lost call would show in it."""

from decimal import Decimal
from typing import Any

import pytest

from shared.db.lost_calls.stated_costs import Agreement
from shared.db.lost_calls.usage import Growth, step_of

FINE = Decimal("0.000001")
CENT = Decimal("0.01")


@pytest.mark.parametrize(
    ("figures", "step"),
    [
        (["1.04", "1.08"], "0.01"),
        (["1.04", "1.1"], "0.01"),  # it ends in zeros by chance
        (["1.043"], "0.001"),
        (["1.20000000000000018"], "0.1"),  # a sum of binary fractions
        (["0", "0.05"], "0.01"),
        (["120", "1300"], "1"),
        (["0.0000001"], "0.000001"),
        (["123456.123456789"], "0.000001"),
        (["0"], "1"),
        ([None, "0.5"], "0.1"),
        ([], "1"),
    ],
)
def test_a_figure_is_stated_as_finely_as_the_reading_that_shows_the_most_digits(figures: list[Any], step: str) -> None:
    assert step_of([figure and Decimal(figure) for figure in figures]) == Decimal(step)


@pytest.mark.parametrize(
    ("least", "least_elsewhere", "step", "step_elsewhere", "covered"),
    [
        ("0.04", None, CENT, Decimal(1), True),
        ("0.003", None, CENT, Decimal(1), False),
        ("0.01", None, CENT, Decimal(1), False),
        (None, None, CENT, Decimal(1), False),  # what its model costs is not known
        (None, None, FINE, FINE, True),
        (None, None, FINE, Decimal(1), False),
        (None, "0.04", Decimal(1), CENT, True),
        (None, "0.003", Decimal(1), CENT, False),
        ("0.04", "0.003", CENT, CENT, False),
    ],
)
def test_a_figure_proves_nothing_of_a_call_that_may_cost_no_more_than_its_last_digit(
    *, least: Any, least_elsewhere: Any, step: Decimal, step_elsewhere: Decimal, covered: bool
) -> None:
    grown = Growth(
        Decimal(0), 0, stated=CENT, models=frozenset({"a"}), model="b", step=step, step_elsewhere=step_elsewhere
    )
    costs = [one and Decimal(one) for one in (least, least_elsewhere)]
    agreed = Agreement(True, False, False, frozenset({"a"}), *costs)  # noqa: FBT003 - a row of figures
    assert agreed.covers(grown) is covered
