"""The ledger: whatever answers come in whatever order, its sums are what the submissions say."""

from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.db.engine import Engine, transaction
from shared.db.payments import spending, submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import Outcome
from tests.support import rows

PRICES = st.none() | st.decimals(0, 100, places=3)
ANSWERS = st.lists(st.tuples(st.sampled_from(list(Outcome)), PRICES), max_size=5)


def expected(reserved: Decimal | None, answers: list[tuple[Outcome, Decimal | None]]) -> tuple[Outcome | None, Decimal]:
    """The first answer that says something wins; only `unknown` gives way."""
    outcome: Outcome | None = None
    settled = None
    for answer, figure in answers:
        if outcome in {None, Outcome.UNKNOWN} and answer is not outcome:
            outcome, settled = answer, figure
    amount = settled if settled is not None else reserved
    return outcome, (amount or Decimal(0)) if outcome is Outcome.ACCEPTED else Decimal(0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reserved=PRICES, answers=ANSWERS)
def test_every_amount_is_in_exactly_one_place(
    engine: Engine, reserved: Decimal | None, answers: list[tuple[Outcome, Decimal | None]]
) -> None:
    rows.add(engine, [rows.new_job(str(rows.new_id()))])
    rows.register(engine, rows.account_row(concurrency=1000))
    (intent,) = rows.open_intents(engine, rows.claim(engine), price=reserved)
    with transaction(engine) as connection:
        for answer, figure in answers:
            submissions.record(connection, intent.submission_id, Answer(answer, settled=figure))
    outcome, settled = expected(reserved, answers)
    (sums,) = rows.rows(
        engine,
        "SELECT sum(reserved) AS reserved, sum(settled) AS settled, sum(held) AS held FROM ledger "
        "WHERE submission_id = :id",
        id=intent.submission_id,
    )
    assert sums.settled == settled
    assert sums.held == ((reserved or 0) if outcome is Outcome.UNKNOWN else 0)
    assert sums.reserved == ((reserved or 0) if outcome is None else 0)


def test_the_bill_adds_up_by_account_and_names_what_has_no_price(engine: Engine) -> None:
    for price, answer in (
        (Decimal(2), rows.accepted()),
        (None, Answer(Outcome.UNKNOWN)),
        (Decimal(5), Answer(Outcome.UNKNOWN)),
        (Decimal(7), Answer(Outcome.REJECTED)),
    ):
        rows.add(engine, [rows.new_job(str(rows.new_id()))])
        (intent,) = rows.open_intents(engine, rows.claim(engine), price=price)
        with transaction(engine) as connection:
            submissions.record(connection, intent.submission_id, answer)
    with transaction(engine) as connection:
        (bill,) = spending.bill(connection)
    assert (bill["settled"], bill["reserved"], bill["held"], bill["held_unpriced"]) == (2, 0, 5, 1)
    assert (bill["submissions"], bill["accepted"]) == (4, 1)
