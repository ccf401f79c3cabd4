"""Whether a provider charges what it states, by spans of its figure in which only known calls were made."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from shared.db.engine import Engine, transaction
from shared.db.lost_calls.stated_costs import Agreement, agreement
from shared.db.lost_calls.usage import Growth, UsageFigure
from shared.lifecycle import Outcome
from tests.integration.test_growth import COST, LAG, LOST_AT, READ_AFTER, READ_BEFORE, attempt, bought, read
from tests.support.rows import Answer, rows

FIRST, SECOND = -300, -200
NOTHING = Agreement(here=False, elsewhere=False, short=False)
AGREED = replace(NOTHING, here=True, models=frozenset({""}))


def agreed(engine: Engine, submission_id: Any, reading: UsageFigure) -> Agreement:
    with transaction(engine) as connection:
        return agreement(connection, submission_id, reading, lag_seconds=LAG)


def lost_call(engine: Engine) -> Any:
    return attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)


def quiet_at(engine: Engine, submission_id: Any, at: float) -> None:
    move = "UPDATE submission SET visible_by = now() + :at * interval '1 second' WHERE id = :id"
    rows(engine, move, at=at, id=submission_id)


@pytest.mark.parametrize(
    ("charged", "said"),
    [
        (COST, AGREED),
        (COST + Decimal("1e-9"), AGREED),
        (COST / 2, replace(NOTHING, short=True)),
        (Decimal(0), replace(NOTHING, short=True)),
        (2 * COST, NOTHING),  # somebody else's charge, or a lost call's: nothing hides in it
    ],
)
def test_a_span_of_known_calls_shows_whether_what_is_stated_is_charged(
    engine: Engine, charged: Decimal, said: Agreement
) -> None:
    lost = lost_call(engine)
    attempt(engine, bought(), -250, -240)
    read(engine, FIRST, Decimal(7))
    read(engine, SECOND, Decimal(7) + charged)
    assert agreed(engine, lost, read(engine, READ_AFTER, Decimal(9))) == said


def test_the_span_of_the_lost_call_and_a_span_without_calls_show_nothing(engine: Engine) -> None:
    lost = lost_call(engine)
    attempt(engine, bought(), -50, -45)
    read(engine, FIRST, Decimal(7))
    read(engine, READ_BEFORE, Decimal(7))
    assert agreed(engine, lost, read(engine, READ_AFTER, Decimal(7) + COST)) == NOTHING


@pytest.mark.parametrize(
    "other",
    [
        Answer(Outcome.UNKNOWN),
        bought(cost_stated=False),
        bought(cost_stated=False, inferred=True),
        Answer(Outcome.REJECTED, inferred=True),  # an earlier reading judged it unbought
        Answer(Outcome.REJECTED, http_status=200),
    ],
)
def test_a_call_whose_cost_is_not_known_spoils_the_span_in_which_its_charge_may_come(
    engine: Engine, other: Answer
) -> None:
    lost = lost_call(engine)
    attempt(engine, bought(), -250, -240)
    odd = attempt(engine, other, -350, -345)
    read(engine, FIRST, Decimal(7))
    read(engine, SECOND, Decimal(7) + COST)
    last = read(engine, READ_AFTER, Decimal(9))
    assert agreed(engine, lost, last) == NOTHING
    quiet_at(engine, odd, -310)
    assert agreed(engine, lost, last) == AGREED


@pytest.mark.parametrize("other", [Answer(Outcome.REJECTED, http_status=400), Answer(Outcome.NOT_SENT)])
def test_a_call_that_its_provider_refused_or_that_never_left_spoils_nothing(engine: Engine, other: Answer) -> None:
    lost = lost_call(engine)
    attempt(engine, bought(), -250, -240)
    attempt(engine, other, -260, -255)
    read(engine, FIRST, Decimal(7))
    read(engine, SECOND, Decimal(7) + COST)
    assert agreed(engine, lost, read(engine, READ_AFTER, Decimal(9))) == AGREED


@pytest.mark.parametrize("answered", [SECOND - 5, SECOND + 5])
def test_a_reading_that_may_lack_the_cost_of_a_call_begins_and_ends_no_span(engine: Engine, answered: float) -> None:
    lost = lost_call(engine)
    attempt(engine, bought(), -250, answered)
    read(engine, FIRST, Decimal(7))
    read(engine, SECOND, Decimal(7))
    last = read(engine, READ_AFTER, Decimal(9))
    assert agreed(engine, lost, last) == NOTHING
    read(engine, -150, Decimal(7) + COST)
    assert agreed(engine, lost, last) == AGREED


def test_the_readings_and_calls_of_another_key_show_nothing(engine: Engine) -> None:
    lost = lost_call(engine)
    attempt(engine, bought(), -250, -240, key="another")
    read(engine, FIRST, Decimal(7), key="another")
    read(engine, SECOND, Decimal(7) + COST, key="another")
    assert agreed(engine, lost, read(engine, READ_AFTER, Decimal(9))) == NOTHING


def test_what_is_paid_elsewhere_is_tried_by_itself(engine: Engine) -> None:
    lost = lost_call(engine)
    attempt(engine, replace(bought(Decimal(0)), elsewhere=COST), -250, -240)
    read(engine, FIRST, Decimal(7))
    read(engine, SECOND, Decimal(7))
    last = read(engine, READ_AFTER, Decimal(9))
    assert agreed(engine, lost, last) == replace(NOTHING, short=True)
    rows(engine, "UPDATE usage_reading SET elsewhere = :cost WHERE at > now() - interval '250 s'", cost=COST)
    assert agreed(engine, lost, last) == replace(NOTHING, elsewhere=True, models=frozenset({""}))


@pytest.mark.parametrize(
    ("here", "elsewhere", "models", "covered"),
    [
        (True, False, {"a", "b"}, True),
        (True, False, {"b"}, False),  # a price before discount may be stated for one model alone
        (True, False, set(), False),
        (False, True, {"a"}, False),
    ],
)
def test_costs_are_believed_of_the_models_and_figures_of_which_it_was_seen(
    *, here: bool, elsewhere: bool, models: set[str], covered: bool
) -> None:
    grown = Growth(Decimal(0), 0, stated=COST, models=frozenset({"a"}))
    assert Agreement(here, elsewhere, short=False, models=frozenset(models)).covers(grown) is covered


def test_the_models_of_calls_that_were_charged_as_stated_are_named(engine: Engine) -> None:
    lost = lost_call(engine)
    attempt(engine, bought(), -250, -240)
    rows(
        engine,
        """UPDATE job SET request = request || '{"model": "m"}' FROM submission s
      WHERE s.job_id = job.id AND s.outcome = 'accepted'""",
    )
    read(engine, FIRST, Decimal(7))
    read(engine, SECOND, Decimal(7) + COST)
    assert agreed(engine, lost, read(engine, READ_AFTER, Decimal(9))).models == {"m"}


def test_the_least_cost_of_the_lost_calls_own_model_is_told(engine: Engine) -> None:
    lost = lost_call(engine)
    calls = [attempt(engine, bought(cost), -250, -240) for cost in (COST, 2 * COST, COST / 5)]
    model = "UPDATE job SET request = request || jsonb_build_object('model', CAST(:model AS text)) FROM submission s "
    for one, name in zip([lost, *calls], "mmmx", strict=True):
        rows(engine, model + "WHERE s.job_id = job.id AND s.id = :id", model=name, id=one)
    read(engine, FIRST, Decimal(7))
    read(engine, SECOND, Decimal(7) + sum((COST, 2 * COST, COST / 5)))
    said = agreed(engine, lost, read(engine, READ_AFTER, Decimal(9)))
    assert (said.least, said.least_elsewhere) == (COST, None)
    rows(engine, model + "WHERE s.job_id = job.id AND s.id = :id", model="new", id=lost)
    assert agreed(engine, lost, read(engine, READ_AFTER, Decimal(9))).least is None
