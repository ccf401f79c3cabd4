"""What a provider made belongs to one paid call: a link is kept whatever its id says, an id alone belongs to one."""

import hashlib
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from ops.simulator import Simulator
from producer import Client
from shared.db.accounts import AccountRow
from shared.db.engine import Engine, transaction
from shared.db.lost_calls import unowned
from shared.db.payments import submissions
from shared.db.payments.intents import Intent
from shared.db.payments.ownership import OwnedElsewhereError
from shared.db.payments.submissions import Answer, BoughtImage
from shared.lifecycle import ImageState, Outcome
from tests.support import rows
from tests.support.canned_wire import Canned, reply, wire
from tests.support.drain import drain
from tests.support.outcome import BLOOM, GETIMG, only
from worker.providers.contract import UpstreamImage
from worker.runtime import Runtime
from worker.stages.image_indexes import assign_indexes, surplus

LINKED = rows.accepted()
OPEN = rows.accepted(ImageState.PENDING, link=None)


def record(engine: Engine, intent: Intent, answer: Answer) -> None:
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, answer)


def pictures(engine: Engine, intent: Intent) -> list[tuple[str | None, str, str | None]]:
    found = rows.rows(
        engine,
        "SELECT upstream_id, state, link FROM image WHERE job_id = :id ORDER BY index",
        id=intent.claim.job_id,
    )
    return [tuple(row) for row in found]


def told(engine: Engine, job_id: UUID) -> str:
    found = rows.rows(
        engine, "SELECT note FROM job_event WHERE job_id = :id AND code = 'answer_odd' ORDER BY id", id=job_id
    )
    return "; ".join(row.note for row in found)


@pytest.mark.parametrize("receipt", ["another", LINKED.upstream_id], ids=["picture", "receipt and picture"])
def test_a_picture_with_a_link_is_kept_without_an_id_that_is_anothers(receipt: str, engine: Engine) -> None:
    first, second = rows.one_intent(engine), rows.one_intent(engine)
    record(engine, first, LINKED)
    new = replace(LINKED.images[0], link="https://example.com/new")
    record(engine, second, replace(LINKED, upstream_id=receipt, images=(new,)))
    assert pictures(engine, second) == [(None, "ready", new.link)]
    assert pictures(engine, first)[0][0] == LINKED.images[0].upstream_id
    assert str(first.claim.job_id) in told(engine, second.claim.job_id)
    own = None if receipt == LINKED.upstream_id else receipt
    assert rows.rows(engine, "SELECT upstream_id, outcome FROM submission ORDER BY opened_at") == [
        (LINKED.upstream_id, "accepted"),
        (own, "accepted"),
    ]


@pytest.mark.parametrize("forgotten", [False, True])
def test_an_answer_that_repeats_another_with_its_id_and_links_is_nothing_to_go_by(
    engine: Engine, *, forgotten: bool
) -> None:
    first, second, third = (rows.one_intent(engine) for _ in range(3))
    record(engine, first, LINKED)
    if forgotten:  # as soon as it is stored
        rows.rows(engine, "UPDATE image SET link = NULL")
    again = replace(LINKED, images=(replace(LINKED.images[0], upstream_id=None),))
    with pytest.raises(OwnedElsewhereError, match=f"repeats the answer to job {first.claim.job_id}"):
        record(engine, second, again)
    record(engine, third, replace(again, upstream_id="another"))  # the same link, but a receipt of its own
    assert [row.outcome for row in rows.rows(engine, "SELECT outcome FROM submission ORDER BY opened_at")] == [
        "accepted",
        None,
        "accepted",
    ]


def test_a_receipts_id_that_is_anothers_is_left_out_and_its_pictures_stay(engine: Engine) -> None:
    first, second = rows.one_intent(engine), rows.one_intent(engine)
    record(engine, first, LINKED)
    anonymous = BoughtImage(0, ImageState.READY, link="https://example.com/other")
    record(engine, second, replace(LINKED, images=(anonymous,)))
    assert pictures(engine, second) == [(None, "ready", "https://example.com/other")]


def test_an_answer_that_names_only_what_is_anothers_is_nothing_to_go_by(engine: Engine) -> None:
    first, second = rows.one_intent(engine), rows.one_intent(engine)
    record(engine, first, OPEN)
    with pytest.raises(OwnedElsewhereError, match=str(first.claim.job_id)):
        record(engine, second, OPEN)
    assert rows.rows(engine, "SELECT outcome FROM submission ORDER BY opened_at") == [("accepted",), (None,)]


def of_account(engine: Engine, intent: Intent, account: str, key: str, provider: str = "bloom") -> None:
    """Make an attempt, and what it bought, that of another account with a key."""
    rows.register(engine, AccountRow(account, provider, "credit", 8, ()))
    terms = {"id": intent.submission_id, "account": account, "key": key}
    rows.rows(engine, "UPDATE submission SET account = :account, key_id = :key WHERE id = :id", **terms)
    rows.rows(engine, "UPDATE image SET account = :account WHERE submission_id = :id", id=terms["id"], account=account)


@pytest.mark.parametrize("linked", [False, True])
def test_what_another_account_bought_with_the_same_key_is_anothers_too(engine: Engine, *, linked: bool) -> None:
    first, second = rows.one_intent(engine), rows.one_intent(engine)
    bought = LINKED if linked else OPEN
    record(engine, first, bought)
    of_account(engine, first, "bloom_eu", "k1")
    of_account(engine, second, "bloom", "k1")
    again = replace(bought, images=(replace(bought.images[0], upstream_id=None),)) if linked else bought
    with pytest.raises(OwnedElsewhereError, match=str(first.claim.job_id)):
        record(engine, second, again)


@pytest.mark.parametrize(("account", "key", "provider"), [("bloom_eu", "k2", "bloom"), ("other", "k1", "getimg")])
def test_an_id_that_another_customer_or_another_provider_gave_is_no_ones_here(
    engine: Engine, account: str, key: str, provider: str
) -> None:
    first, second = rows.one_intent(engine), rows.one_intent(engine)
    record(engine, first, OPEN)
    of_account(engine, first, account, key, provider)
    of_account(engine, second, "bloom", "k1")
    record(engine, second, OPEN)
    assert [state for _, state, _ in pictures(engine, second)] == ["pending"]


def test_what_is_its_own_is_followed_beside_what_is_anothers(engine: Engine) -> None:
    first, second = rows.one_intent(engine), rows.one_intent(engine, n=2)
    record(engine, first, OPEN)
    fresh = BoughtImage(0, ImageState.PENDING, "fresh")
    record(engine, second, replace(OPEN, upstream_id="fresh", images=(fresh, replace(OPEN.images[0], index=1))))
    assert [(name, state) for name, state, _ in pictures(engine, second)] == [("fresh", "pending"), (None, "failed")]


@pytest.mark.parametrize("before", [1, 5])
@pytest.mark.parametrize("whose", ["another job's", "its own, again"])
def test_an_id_that_is_anothers_pushes_no_picture_out_of_its_place(whose: str, before: int, engine: Engine) -> None:
    known = [f"old-{number}" for number in range(before)] if whose == "another job's" else ["fresh"] * before
    if whose == "another job's":
        first = rows.one_intent(engine, n=before)
        named = tuple(BoughtImage(index, ImageState.PENDING, name) for index, name in enumerate(known))
        record(engine, first, replace(OPEN, upstream_id=known[0], images=named))
    second = rows.one_intent(engine, n=1 if whose == "another job's" else 2)
    wanted = second.missing
    images = [UpstreamImage(ImageState.PENDING, name) for name in [*known, "fresh", "newer"]]
    taken, rest = assign_indexes(wanted, second.request, images), surplus(wanted, images)
    record(engine, second, replace(OPEN, upstream_id=known[0], images=taken, unowned=rest))
    found = pictures(engine, second)
    assert found[0][:2] == ("fresh", "pending")
    assert found[1][:2] == ("newer", "pending")
    assert all(state == "failed" for _, state, _ in found[2:])


def test_an_answer_that_repeats_an_earlier_id_before_its_own_fails_nothing(
    client: Client, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    client.enqueue([BLOOM], batch="first")
    drain(runtime, lambda: client.totals("first") == {"succeeded": 1})
    (theirs,) = rows.rows(engine, "SELECT upstream_id FROM image")
    answering(runtime, "bloom", {"data": {"ids": [theirs.upstream_id, "fresh"]}})
    client.enqueue([BLOOM], batch="b")
    drain(runtime, lambda: only(client)["job"]["state"] == "pending")
    assert [(image["index"], image["upstream_id"], image["state"]) for image in only(client)["images"]] == [
        (0, "fresh", "pending"),
        (1, None, "failed"),
    ]


def test_an_id_twice_in_one_answer_loses_no_link(engine: Engine) -> None:
    intent = rows.one_intent(engine, n=2)
    twice = tuple(BoughtImage(n, ImageState.READY, "same", f"https://example.com/{n}") for n in range(2))
    record(engine, intent, Answer(Outcome.ACCEPTED, images=twice))
    assert pictures(engine, intent) == [
        ("same", "ready", "https://example.com/0"),
        (None, "ready", "https://example.com/1"),
    ]


def test_what_an_answer_names_too_much_is_listed_and_counted(engine: Engine) -> None:
    intent = rows.one_intent(engine)
    extra = (BoughtImage(0, ImageState.READY, "extra", "https://example.com/x"), BoughtImage(1, ImageState.READY))
    record(engine, intent, replace(LINKED, unowned=extra, left_out=7))
    with transaction(engine) as connection:
        listed = unowned.listing(connection)
    assert [str(row["upstream_id"]) for row in listed] == ["extra", f"{intent.submission_id}/beyond/1"]
    assert "9 more than can be this job's" in told(engine, intent.claim.job_id)


@pytest.mark.parametrize("table", ["submission", "image"])
def test_two_calls_never_own_the_same_receipt_nor_the_same_picture(table: str, engine: Engine) -> None:
    first, second = rows.one_intent(engine), rows.one_intent(engine)
    record(engine, first, LINKED)
    record(engine, second, rows.accepted())
    with pytest.raises(IntegrityError):
        rows.rows(engine, f"UPDATE {table} SET upstream_id = 'the same'")  # noqa: S608 - one of two names


def answering(runtime: Runtime, name: str, body: object) -> None:
    """Have every paid call of an account answered so."""
    account = runtime.accounts[name]
    canned = wire(name, Canned(reply(200, body)))
    object.__setattr__(account, "wire", canned)


def test_a_job_whose_answer_names_only_anothers_picture_is_held_with_words(
    client: Client, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    client.enqueue([BLOOM], batch="first")
    drain(runtime, lambda: client.totals("first") == {"succeeded": 1})
    (theirs,) = rows.rows(engine, "SELECT upstream_id, job_id FROM image")
    answering(runtime, "bloom", {"data": {"ids": [theirs.upstream_id]}})
    client.enqueue([BLOOM], batch="b")
    drain(runtime, lambda: only(client)["job"]["state"] == "in_doubt")
    story = only(client)["job"]
    assert story["error_code"] == "answer_unreadable"
    assert theirs.upstream_id in story["error"]
    assert str(theirs.job_id) in story["error"]


def test_a_replayed_answer_is_booked_once_and_its_job_is_held_with_words(
    client: Client, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    client.enqueue([GETIMG], batch="first")
    drain(runtime, lambda: client.totals("first") == {"succeeded": 1})
    (theirs,) = rows.rows(engine, "SELECT upstream_id, job_id, reply_sha256 FROM submission")
    link = f"{simulated.url}/getimg/replayed"
    digest = hashlib.sha256(link.encode()).digest()
    rows.rows(engine, "UPDATE submission SET reply_sha256 = :digest", digest=digest)
    answering(runtime, "getimg", {"id": theirs.upstream_id, "data": [{"url": link}], "usage": {"total_cost": 0.035}})
    client.enqueue([{**GETIMG, "prompt": "quite another thing"}], batch="b")
    drain(runtime, lambda: only(client)["job"]["state"] == "in_doubt")
    assert theirs.reply_sha256 is not None
    assert str(theirs.job_id) in only(client)["job"]["error"]
    (line,) = client.bill("b")
    assert (line["settled"], line["held"] > 0) == (0, True)


def test_60_000_links_in_one_answer_are_a_few_pictures_and_a_count(
    client: Client, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    link = f"{simulated.url}/getimg/nothing"
    answering(runtime, "getimg", {"id": "x" * 10_000, "data": [{"url": f"{link}/{n}"} for n in range(60_000)]})
    client.enqueue([GETIMG], batch="b")
    drain(runtime, lambda: bool(rows.rows(engine, "SELECT 1 FROM image")))
    assert rows.rows(engine, "SELECT count(*) FROM image") == [(5,)]
    assert rows.rows(engine, "SELECT count(*) FROM unowned_image") == [(95,)]
    assert "59995 more than can be this job's" in told(engine, only(client)["job"]["id"])
    assert rows.rows(engine, "SELECT upstream_id FROM submission") == [(None,)]
