"""How a key's usage grew around a lost call, by the calls that may be in the figure; times in seconds from now."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from shared.db.engine import Engine, transaction
from shared.db.lost_calls import usage
from shared.db.lost_calls.usage import Growth, UsageFigure
from shared.db.payments.submissions import record
from shared.lifecycle import Outcome
from tests.support import rows
from tests.support.rows import Answer

LAG = 10.0
KEY = "a key"
COST = Decimal("0.05")
READ_BEFORE, LOST_AT, OVER, QUIET_AT, READ_AFTER = -100, -80, -78, -60, -30


def attempt(engine: Engine, answer: Answer | None, opened: float, answered: float | None = None, key: str = KEY) -> Any:
    intent = rows.one_intent(engine)
    if answer is not None:
        with transaction(engine) as connection:
            record(connection, intent.submission_id, answer)
    rows.rows(
        engine,
        "UPDATE submission SET key_id = :key, opened_at = now() + :opened * interval '1 second', "
        "visible_by = now() + :quiet * interval '1 second', "
        "answered_at = now() + CAST(:answered AS float) * interval '1 second' WHERE id = :id",
        key=key,
        opened=opened,
        answered=answered,
        quiet=QUIET_AT,
        id=intent.submission_id,
    )
    return intent.submission_id


def read(engine: Engine, at: float, used: Decimal, key: str = KEY) -> UsageFigure:
    (row,) = rows.rows(
        engine,
        "INSERT INTO usage_reading (account, key_id, elsewhere, asked_at, at, used) VALUES ('bloom', :key, 0, "
        "now() + :at * interval '1 second', now() + :at * interval '1 second', :used) RETURNING id",
        key=key,
        at=at,
        used=used,
    )
    return UsageFigure(row.id)


def growth(engine: Engine, submission_id: Any, reading: UsageFigure) -> Growth | None:
    with transaction(engine) as connection:
        over_at = connection.execute(text("SELECT now() + :over * interval '1 second'"), {"over": OVER}).scalar_one()
        return usage.growth(connection, submission_id, reading, over_at=over_at, lag_seconds=LAG)


def bought(settled: Decimal = COST, *, cost_stated: bool = True, inferred: bool = False) -> Answer:
    return Answer(Outcome.ACCEPTED, settled=settled, cost_stated=cost_stated, inferred=inferred)


@pytest.mark.parametrize(
    ("other", "opened", "answered", "ours", "loose", "later"),
    [
        (bought(), -90, -70, 1, 0, 0),
        (bought(), -79, -70, 1, 0, 0),  # begun before the lost call was over: its charge may be the older one
        (bought(), -50, -45, 1, 0, 1),
        (bought(Decimal(0)), -50, -45, 0, 0, 0),  # what cost nothing does not move the figure
        (bought(), -50, -35, 0, 1, 0),  # answered just before the second reading: its charge may not show yet
        (bought(), -50, -20, 0, 1, 0),
        (bought(), -110, -70, 0, 0, 0),  # charged before the first reading, or after it: nobody knows
        (bought(cost_stated=False), -50, -45, 0, 0, 0),  # our own price, or an answer that broke off
        (bought(cost_stated=False, inferred=True), -50, -45, 0, 0, 0),  # a person's figure
        (Answer(Outcome.UNKNOWN), -50, -45, 0, 0, 0),
        (Answer(Outcome.REJECTED), -50, -45, 0, 0, 0),
        (None, -40, None, 0, 1, 0),
    ],
)
def test_only_what_the_provider_stated_of_calls_between_the_readings_explains_growth(  # noqa: PLR0913 - one row of a table
    *, engine: Engine, other: Answer | None, opened: float, answered: float | None, ours: int, loose: int, later: int
) -> None:
    lost = attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)
    attempt(engine, other, opened, answered)
    read(engine, READ_BEFORE, Decimal(7))
    last = read(engine, READ_AFTER, Decimal(7) + COST)
    assert growth(engine, lost, last) == Growth(COST - ours * COST, loose, later)


def test_neither_readings_nor_calls_of_another_key_count(engine: Engine) -> None:
    lost = attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)
    attempt(engine, bought(), -90, -70, key="another")
    read(engine, READ_BEFORE, Decimal(7))
    read(engine, -85, Decimal(0), key="another")
    assert growth(engine, lost, read(engine, READ_AFTER, Decimal(7), key="another")) is None
    assert growth(engine, lost, read(engine, READ_AFTER, Decimal(7) + COST)) == Growth(COST, 0)


def test_a_figure_that_fell_in_between_proves_nothing(engine: Engine) -> None:
    lost = attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)
    attempt(engine, bought(), -90, -70)
    read(engine, READ_BEFORE, Decimal(7))
    read(engine, -58, Decimal(7) + 2 * COST)
    found = growth(engine, lost, read(engine, READ_AFTER, Decimal(7) + COST))
    assert found == Growth(Decimal(0), 0, fell=True)
    assert not found.is_none


def test_two_readings_that_were_asked_beside_each_other_are_no_fall(engine: Engine) -> None:
    lost = attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)
    attempt(engine, bought(), -90, -70)
    read(engine, READ_BEFORE, Decimal(7))
    read(engine, -58, Decimal(7) + COST)
    slow = read(engine, -57, Decimal(7))
    rows.rows(engine, "UPDATE usage_reading SET asked_at = asked_at - interval '10 s' WHERE id = :id", id=slow.id)
    assert growth(engine, lost, read(engine, READ_AFTER, Decimal(7) + COST)) == Growth(Decimal(0), 0)


@pytest.mark.parametrize("at", [[READ_BEFORE], [READ_AFTER], [-70, READ_AFTER], [READ_BEFORE, -65]])
def test_nothing_is_said_without_a_reading_before_the_call_and_one_after_its_charge_would_show(
    engine: Engine, at: list[float]
) -> None:
    lost = attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)
    last = [read(engine, moment, Decimal(7)) for moment in at][-1]
    assert growth(engine, lost, last) is None


@pytest.mark.parametrize(("unexplained", "none"), [("0", True), ("1e-12", True), ("0.00004", False), ("-0.05", False)])
def test_a_rounding_is_no_growth_and_a_figure_that_fell_proves_nothing(unexplained: str, none: bool) -> None:  # noqa: FBT001
    assert Growth(Decimal(unexplained), 0).is_none is none


def test_a_reading_that_was_taken_while_no_call_was_under_way_goes_before_a_newer_one(engine: Engine) -> None:
    """What was under way at a reading may be in it or not: such a reading explains nothing that came after it."""
    lost = attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)
    attempt(engine, bought(), -95, -70)
    read(engine, READ_BEFORE, Decimal(7))
    read(engine, -90, Decimal(7))
    last = read(engine, READ_AFTER, Decimal(7) + COST)
    assert growth(engine, lost, last) == Growth(Decimal(0), 0)


def test_the_step_of_each_figure_and_the_lost_calls_model_are_told(engine: Engine) -> None:
    lost = attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)
    read(engine, READ_BEFORE, Decimal("7.02"))
    found = growth(engine, lost, read(engine, READ_AFTER, Decimal("7.1")))
    assert found is not None
    assert (found.step, found.step_elsewhere, found.model) == (Decimal("0.01"), Decimal(1), "")
    rows.rows(engine, "UPDATE usage_reading SET elsewhere = 3.125")
    found = growth(engine, lost, read(engine, READ_AFTER, Decimal("7.1")))
    assert found is not None
    assert found.step_elsewhere == Decimal("0.001")


def test_a_reading_that_does_not_state_what_is_paid_elsewhere_is_compared_with_others_of_its_kind(
    engine: Engine,
) -> None:
    lost = attempt(engine, Answer(Outcome.UNKNOWN), LOST_AT, LOST_AT)
    read(engine, READ_BEFORE, Decimal(7))
    last = read(engine, READ_AFTER, Decimal(7))
    assert growth(engine, lost, last) == Growth(Decimal(0), 0)
    rows.rows(engine, "UPDATE usage_reading SET elsewhere = NULL WHERE id = :id", id=last.id)
    assert growth(engine, lost, last) is None
    rows.rows(engine, "UPDATE usage_reading SET elsewhere = NULL")
    found = growth(engine, lost, last)
    assert found == Growth(Decimal(0), 0)
    assert found is not None
    assert found.step_elsewhere == 1
