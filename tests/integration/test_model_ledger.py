"""Whatever answers come, how often, from whom and in whatever order, the books are a plain model's."""

from dataclasses import dataclass
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text

from shared.account_settings import RateWindow
from shared.db import pauses
from shared.db.accounts import AccountRow
from shared.db.engine import Engine, transaction
from shared.db.jobs.resolve import resolve
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.payments import intents, spending, submissions
from shared.db.payments.intents import PaymentTerms
from shared.db.payments.submissions import Answer
from shared.ids import new_id
from shared.lifecycle import JobState, Outcome
from tests.support import rows
from tests.support.counted import check_counts
from tests.support.model_money import NOTHING, Call, check_books
from tests.support.model_run import empty, walk

HOUR = 3600.0
MOST_AN_HOUR = {"bloom": 4, "getimg": 6}
NAMES = st.sampled_from(list(MOST_AN_HOUR))
PRICES = st.none() | st.decimals(0, 50, places=3)
OUTCOMES = st.sampled_from(list(Outcome))
CLOSING = [outcome for outcome in Outcome if outcome is not Outcome.UNKNOWN]


@dataclass(frozen=True)
class Paid:
    """A call with what its provider would say of it, whenever it is heard."""

    call: Call
    claim: Claim
    truth: Outcome
    figure: Decimal | None

    def __repr__(self) -> str:
        return f"<{self.truth} call of {self.call.reserved}, {self.call.outcome} as we know>"


def terms(price: Decimal | None) -> PaymentTerms:
    return PaymentTerms(
        price=lambda _request, _count: price,
        allow_unknown_price=True,
        send_within_seconds=HOUR,
        lease_seconds=HOUR,
        quiet_seconds=HOUR,
    )


class Ledger(RuleBasedStateMachine):
    def __init__(self, engine: Engine) -> None:
        super().__init__()
        empty(engine)
        self.engine = engine
        self.connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self.paid: list[Paid] = []
        self.slots = dict.fromkeys(MOST_AN_HOUR, 0)
        self.paused: set[str] = set()

    @initialize()
    def register(self) -> None:
        known = [
            AccountRow(name, name, "credit", 100, (RateWindow(requests=most, seconds=HOUR),))
            for name, most in MOST_AN_HOUR.items()
        ]
        rows.register(self.engine, *known)

    # Paying

    @rule(name=NAMES, count=st.integers(1, 3), price=PRICES, truth=st.sampled_from(CLOSING), share=st.integers(0, 2))
    def pay(self, name: str, count: int, price: Decimal | None, truth: Outcome, share: int) -> None:
        """Open intents for several jobs at once; what they cost is the price, or less where a figure says so."""
        rows.add(self.engine, [rows.new_job(str(new_id()), account=name) for _ in range(count)])
        wanted = {claim: new_id() for claim in rows.claim(self.engine, account=name, count=count)}
        with transaction(self.engine) as connection:
            opened = intents.open_intents(connection, name, wanted, sender=rows.SENDER, terms=terms(price))
        room = MOST_AN_HOUR[name] - self.slots[name]
        assert len(opened) == (0 if name in self.paused else min(room, len(wanted)))
        self.slots[name] += len(opened)
        figure = None if price is not None and share == 0 else (Decimal(7) if price is None else price) * share / 2
        charge = NOTHING if truth is not Outcome.ACCEPTED else price if figure is None else figure
        for intent in opened:
            call = Call(intent.submission_id, intent.claim.job_id, name, price, charge or NOTHING)
            self.paid.append(Paid(call, intent.claim, truth, figure))

    @rule(name=NAMES, pause=st.booleans())
    def pause_or_resume(self, name: str, *, pause: bool) -> None:
        with transaction(self.engine) as connection:
            if pause:
                pauses.pause(connection, name, code="account_out_of_credit", reason="empty", action_url=None)
            else:
                pauses.resume(connection, name)
                connection.execute(
                    text("UPDATE account SET slow_start_limit = NULL")
                )  # how many at once is another test's
        (self.paused.add if pause else self.paused.discard)(name)

    @rule(name=NAMES)
    def an_hour_passes(self, name: str) -> None:
        rows.rows(
            self.engine,
            "UPDATE request_slot SET taken_at = taken_at - interval '2 hours' WHERE account = :name",
            name=name,
        )
        self.slots[name] = 0

    # Answers

    @precondition(lambda self: self.undecided())
    @rule(data=st.data(), heard=st.booleans())
    def answer(self, data: st.DataObject, *, heard: bool) -> None:
        paid = data.draw(st.sampled_from(self.undecided()))
        self._record(paid, paid.truth if heard else Outcome.UNKNOWN, paid.figure)

    @precondition(lambda self: self.decided())
    @rule(data=st.data(), outcome=OUTCOMES, figure=PRICES)
    def contradict(self, data: st.DataObject, outcome: Outcome, figure: Decimal | None) -> None:
        self._record(data.draw(st.sampled_from(self.decided())), outcome, figure)

    def _record(self, paid: Paid, outcome: Outcome, figure: Decimal | None) -> None:
        before = (paid.call.outcome, paid.call.inferred)
        paid.call.learn(outcome, figure)
        with transaction(self.engine) as connection:
            answer = Answer(outcome, error_code="x", settled=figure)
            took = submissions.record(connection, paid.call.submission_id, answer)
        assert took == (before != (paid.call.outcome, paid.call.inferred))

    @precondition(lambda self: self.unsent())
    @rule(data=st.data())
    def commit_was_not_confirmed(self, data: st.DataObject) -> None:
        paid = data.draw(st.sampled_from(self.unsent()))
        paid.call.learn(Outcome.NOT_SENT)
        with transaction(self.engine) as connection:
            wanted = {paid.claim: paid.call.submission_id}
            intents.undo(connection, paid.call.account, wanted, note="lost", actor="a")

    @precondition(lambda self: self.doubted())
    @rule(data=st.data(), knows=st.booleans())
    def a_person_decides(self, data: st.DataObject, *, knows: bool) -> None:
        paid = data.draw(st.sampled_from(self.doubted()))
        with transaction(self.engine) as connection:
            lost_call = Move(paid.claim, JobState.SUBMITTING, JobState.IN_DOUBT, HOUR, code="answer_lost")
            if not move(connection, [lost_call], actor="a"):
                return
            resolve(connection, paid.claim.job_id, resend=False, charged=paid.call.charge if knows else None, actor="p")
        if knows:
            outcome = Outcome.ACCEPTED if paid.call.charge else Outcome.REJECTED
            paid.call.learn(outcome, paid.call.charge, inferred=True)

    # What is where

    def undecided(self) -> list[Paid]:
        return [paid for paid in self.paid if not paid.call.is_said]

    def decided(self) -> list[Paid]:
        return [paid for paid in self.paid if paid.call.is_said]

    def unsent(self) -> list[Paid]:
        return [paid for paid in self.paid if paid.truth is Outcome.NOT_SENT and paid.call.outcome is None]

    def doubted(self) -> list[Paid]:
        return [paid for paid in self.paid if paid.call.outcome is Outcome.UNKNOWN]

    @invariant()
    def keeps_the_books(self) -> None:
        check_books(self.connection, [paid.call for paid in self.paid])
        check_counts(self.connection)

    @invariant()
    def reports_the_same_bill(self) -> None:
        lines = {line["account"]: line for line in spending.bill(self.connection)}
        for name in lines:
            calls = [paid.call for paid in self.paid if paid.call.account == name]
            unpriced = [call for call in calls if call.outcome is Outcome.UNKNOWN and call.reserved is None]
            assert lines[name]["submissions"] == len(calls)
            assert lines[name]["held_unpriced"] == len(unpriced)
            assert lines[name]["settled"] == sum((call.settled or NOTHING for call in calls), NOTHING)

    @invariant()
    def takes_a_slot_for_each_call(self) -> None:
        found = rows.rows(self.engine, "SELECT account, count(*) AS n FROM request_slot GROUP BY account")
        assert sum(row.n for row in found) == len(self.paid)

    def teardown(self) -> None:
        """Once every answer has come, nothing is reserved or held, and what is settled is the bill."""
        try:
            for paid in self.undecided():
                self._record(paid, paid.truth, paid.figure)
            self.keeps_the_books()
            sums = [paid.call.sums for paid in self.paid]
            assert all(reserved == held == 0 for reserved, _, held in sums)
            assert sum((s[1] for s in sums), NOTHING) == sum((paid.call.charge for paid in self.paid), NOTHING)
        finally:
            self.connection.close()


def test_any_order_of_answers_leaves_the_books_balanced(engine: Engine) -> None:
    walk(lambda: Ledger(engine), examples=20)
