"""Answers that come after a person has decided: what was bought is collected, and every cent finds its place."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs.resolve import NotHeldError, resolve
from shared.db.jobs.transitions import Move
from shared.db.payments import submissions
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer, BoughtImage
from shared.lifecycle import ImageState, JobState, Outcome
from shared.settings import Settings
from tests.support import rows
from tests.support.drain import drain, settings_for
from tests.support.outcome import BLOOM, ended, ends, only, paid
from worker.runtime import Runtime

ONE = Decimal(1)
SLOW = {"kind": "slow", "seconds": 60}


@pytest.fixture
def settings(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Settings:
    """Nothing is looked for in the provider's list while a test lasts."""
    made = settings_for(database_url, endpoints, simulated.url)
    bloom = made.accounts["bloom"].model_copy(update={"quiet_seconds": 3600.0})
    return made.model_copy(update={"accounts": {**made.accounts, "bloom": bloom}})


@pytest.fixture
def lost(client: Client, runtime: Runtime, simulated: Simulator) -> UUID:
    """One job in doubt, bought although its answer was lost."""
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    drain(runtime, lambda: client.totals("b") == {"checking": 1})
    assert paid(simulated) == 1
    return client.find_job("a")


@pytest.fixture
def answer(client: Client, runtime: Runtime, simulated: Simulator, lost: UUID) -> Callable[[], bool]:
    """Deliver the first call's own answer, late, as its sender would; again and again changes nothing."""
    (first,) = client.story(lost)["submissions"]
    (picture,) = simulated.world.gallery.all("bloom")
    images = (BoughtImage(0, ImageState.PENDING, picture.id),)
    found = Answer(Outcome.ACCEPTED, http_status=202, upstream_id=picture.id, images=images)

    def deliver() -> bool:
        with transaction(runtime.engine) as connection:
            recorded = submissions.record(connection, first["id"], found)
            submissions.follow_late(connection, lost, first["id"], actor="late")
        return recorded

    return deliver


def money(client: Client) -> tuple[Decimal, Decimal, Decimal]:
    (line,) = client.bill("b")
    return line["settled"], line["reserved"], line["held"]


def pictures(client: Client) -> list[tuple[int, str]]:
    return [(row["index"], row["state"]) for row in client.results("b")]


def once(runtime: Runtime, condition: Callable[[], bool], act: Callable[[], Any], until: Callable[[], bool]) -> None:
    """Work until `until`, and `act` as soon as `condition` is true, which it must be on the way."""
    acted = False

    def look() -> bool:
        nonlocal acted
        if not acted and condition():
            act()
            acted = True
        return acted and until()

    drain(runtime, look)


def test_an_answer_before_the_job_is_paid_again_is_collected_and_nothing_is_paid(
    client: Client, runtime: Runtime, simulated: Simulator, lost: UUID, answer: Callable[[], bool]
) -> None:
    client.resolve(lost, resend=True)
    assert answer()
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 1
    assert money(client) == (ONE, 0, 0)
    assert not answer()


def test_an_answer_just_before_the_person_decides_is_followed_and_the_person_is_told(
    client: Client, runtime: Runtime, simulated: Simulator, lost: UUID, answer: Callable[[], bool]
) -> None:
    answer()
    for resend in (True, False):
        with pytest.raises(NotHeldError, match="the answer has come meanwhile"):
            client.resolve(lost, resend=resend)
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 1


@pytest.mark.parametrize("state", ["submitting", "pending", "transferring"])
def test_an_answer_while_the_second_attempt_is_on_its_way_keeps_both_pictures_and_settles_both(
    state: str, client: Client, runtime: Runtime, simulated: Simulator, lost: UUID, answer: Callable[[], bool]
) -> None:
    route = {"submitting": "submit", "transferring": "download"}.get(state, "poll")
    simulated.put_faults([{"match": {"route": route}, "fault": SLOW}])
    client.resolve(lost, resend=True)
    once(runtime, lambda: rows.states(runtime.engine) == {state: 1}, answer, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert pictures(client) == [(0, "stored"), (1, "stored")]
    assert len({row["sha256"] for row in client.results("b")}) <= paid(simulated) == 2
    assert money(client) == (2, 0, 0)
    assert "sender_lost" not in {event["code"] for event in only(client)["events"]}


def test_an_answer_after_the_second_attempt_succeeded_is_settled_and_reported(
    client: Client, runtime: Runtime, simulated: Simulator, lost: UUID, answer: Callable[[], bool]
) -> None:
    client.resolve(lost, resend=True)
    drain(runtime, ended(client))
    assert client.unowned() == []
    answer()
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert money(client) == (2, 0, 0)
    (stray,) = client.unowned()
    assert stray["upstream_id"] == simulated.world.gallery.all("bloom")[0].id


def test_an_answer_while_the_second_attempt_is_in_doubt_is_collected(
    client: Client, runtime: Runtime, simulated: Simulator, lost: UUID, answer: Callable[[], bool]
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    client.resolve(lost, resend=True)
    drain(runtime, lambda: paid(simulated) == 2 and client.totals("b") == {"checking": 1})
    answer()
    drain(runtime, lambda: (0, "stored") in pictures(client), seconds=10)
    assert money(client) == (ONE, 0, ONE)


@pytest.mark.parametrize("charged", [None, Decimal(0), Decimal(5)])
def test_an_answer_after_the_job_was_given_up_reopens_it_and_corrects_the_books(
    charged: Decimal | None,
    client: Client,
    runtime: Runtime,
    simulated: Simulator,
    lost: UUID,
    answer: Callable[[], bool],
) -> None:
    client.resolve(lost, resend=False, charged=charged)
    assert ends(client) == {"a": ("failed", "written_off")}
    assert answer()
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert pictures(client) == [(0, "stored")]
    assert paid(simulated) == 1
    assert money(client) == (ONE, 0, 0)
    assert simulated.bill()["totals"]["bloom"]["amount"] == "1"


def test_an_answer_after_the_job_was_cancelled_before_it_was_sent_again_is_collected(
    client: Client, runtime: Runtime, simulated: Simulator, lost: UUID, answer: Callable[[], bool]
) -> None:
    client.resolve(lost, resend=True)
    assert client.cancel(batch="b").ended == 1
    answer()
    drain(runtime, lambda: ended(client)() and pictures(client) == [(0, "stored")])
    assert paid(simulated) == 1
    assert money(client) == (ONE, 0, 0)


@pytest.fixture
def in_doubt(engine: Engine) -> Intent:
    """A lost call of a job whose price nobody knew."""
    rows.add(engine, [rows.new_job("a")])
    (intent,) = rows.open_intents(engine, rows.claim(engine), price=None)
    held = Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 60, code="answer_lost", on_hold=True)
    assert rows.settle(engine, intent, Answer(Outcome.UNKNOWN), held)
    return intent


def late(engine: Engine, intent: Intent, answer: Answer) -> bool:
    with transaction(engine) as connection:
        recorded = submissions.record(connection, intent.submission_id, answer)
        submissions.follow_late(connection, intent.claim.job_id, intent.submission_id, actor="late")
    return recorded


def decide(engine: Engine, intent: Intent, charged: Decimal | None) -> None:
    with transaction(engine) as connection:
        resolve(connection, intent.claim.job_id, resend=False, charged=charged, actor="person")


def sums(engine: Engine) -> tuple[Decimal, Decimal, Decimal]:
    (found,) = rows.rows(engine, "SELECT sum(settled), sum(reserved), sum(held) FROM ledger")
    return tuple(found)


@pytest.mark.parametrize(
    ("figure", "settled"), [(Decimal("0.05"), Decimal("0.05")), (None, Decimal("0.04")), (Decimal(0), Decimal(0))]
)
def test_the_providers_figure_replaces_a_persons_and_no_figure_replaces_none(
    figure: Decimal | None, settled: Decimal, engine: Engine, in_doubt: Intent
) -> None:
    decide(engine, in_doubt, Decimal("0.04"))
    found = Answer(Outcome.ACCEPTED, settled=figure, images=rows.accepted().images)
    assert late(engine, in_doubt, found)
    assert sums(engine) == (settled, 0, 0)


@pytest.mark.parametrize("charged", [Decimal(0), Decimal("0.04")])
def test_a_refusal_that_comes_late_gives_back_what_a_person_had_written_off(
    charged: Decimal, engine: Engine, in_doubt: Intent
) -> None:
    decide(engine, in_doubt, charged)
    late(engine, in_doubt, Answer(Outcome.REJECTED, error_code="content_refused"))
    assert sums(engine) == (0, 0, 0)
    assert rows.job(engine, in_doubt.claim.job_id).state == "failed"


@pytest.mark.parametrize("known", [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.NOT_SENT, None])
def test_an_unknown_end_replaces_nothing(known: Outcome | None, engine: Engine, in_doubt: Intent) -> None:
    if known is None:
        decide(engine, in_doubt, Decimal("0.04"))
    else:
        assert late(engine, in_doubt, Answer(known, settled=Decimal("0.04")))
    before = rows.rows(engine, "SELECT * FROM submission"), sums(engine)
    assert not late(engine, in_doubt, Answer(Outcome.UNKNOWN, error_code="answer_lost"))
    assert (rows.rows(engine, "SELECT * FROM submission"), sums(engine)) == before


def test_a_senders_late_word_is_kept_and_widens_no_span_in_which_a_list_is_searched(
    engine: Engine, in_doubt: Intent
) -> None:
    past = "now() - interval '1 hour'"
    rows.rows(engine, f"UPDATE submission SET outcome = 'unknown', error_code = 'sender_lost', visible_by = {past}")  # noqa: S608
    late = Answer(Outcome.UNKNOWN, error_code="answer_lost", error="cut", quiet_seconds=300)
    with transaction(engine) as connection:
        assert submissions.record(connection, in_doubt.submission_id, late)
        assert not submissions.record(connection, in_doubt.submission_id, late)
    (row,) = rows.rows(engine, "SELECT error_code, visible_by < now() - interval '59 minutes' AS past FROM submission")
    assert (row.error_code, row.past) == ("answer_lost", True)


def test_a_picture_without_an_id_that_came_after_success_is_reported_too(engine: Engine) -> None:
    first = rows.one_intent(engine)
    held = Move(first.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 60, code="answer_lost", on_hold=True)
    assert rows.settle(engine, first, Answer(Outcome.UNKNOWN), held)
    with transaction(engine) as connection:
        resolve(connection, first.claim.job_id, resend=True, charged=None, actor="person")
    (second,) = rows.open_intents(engine, rows.claim(engine))
    after = Move(second.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 0)
    assert rows.settle(engine, second, rows.accepted(), after)
    rows.rows(engine, "UPDATE image SET state = 'stored', bucket = 'b', key = 'k', sha256 = '\\x00'")
    rows.rows(engine, "UPDATE job SET state = 'succeeded', due_at = NULL, finished_at = now(), claimed_by = NULL")
    image = BoughtImage(0, ImageState.READY, link="https://example.com/late")
    late(engine, first, Answer(Outcome.ACCEPTED, upstream_id="req-1", images=(image,)))
    assert rows.rows(engine, "SELECT account, note LIKE '%earlier attempt%' FROM unowned_image") == [("bloom", True)]
