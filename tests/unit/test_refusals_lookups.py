"""Look-ups: what a lost call may have bought, and what an account has left, from whatever the answer says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.canned_wire import Canned, account, page, reply, wire
from worker import event_loop
from worker.providers.contract import Accepted, AccountFacts, Listed, PaidCall, Refused, RetryRule, Used
from worker.transport.paid_post import Lost

PROVIDERS = ["bloom", "getimg", "openrouter", "posteverywhere", "banatie"]
LISTS = pytest.mark.parametrize("provider", ["bloom", "posteverywhere", "banatie"])
NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("provider", "answer", "balance"),
    [
        ("bloom", {"data": {"balance": 12.5, "unlimited": False}}, Decimal("12.5")),
        ("bloom", {"data": {"balance": 12, "unlimited": True}}, None),
        ("getimg", {"balance": "12.34", "currency": "USD"}, Decimal("12.34")),
        ("getimg", {"balance": -0.5}, Decimal("-0.5")),
        ("getimg", {"balance": "12.34", "currency": "EUR"}, None),
        ("getimg", {"balance": "12.34", "currency": ["USD"]}, None),
        ("openrouter", {"data": {"total_credits": 10.1, "total_usage": 0.0000000001}}, Decimal("10.0999999999")),
        ("openrouter", {"data": {"total_credits": 1, "total_usage": 2}}, Decimal(-1)),
        ("posteverywhere", {"data": {"quota": {"ai_credits": {"used": 5, "limit": 50, "bonus": 3}}}}, Decimal(48)),
        ("posteverywhere", {"quota": {"ai_credits": {"used": 5, "limit": 50}}}, Decimal(45)),
        ("posteverywhere", {"quota": {"ai_credits": {"used": None, "limit": 50}}}, None),
        ("banatie", {"success": True, "data": []}, None),
    ],
)
def test_the_balance_is_exact(provider: str, answer: Any, balance: Decimal | None) -> None:
    assert account(provider, reply(200, answer)).balance == balance


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"data":null}',
        b'{"data":[]}',
        b'{"data":[[]]}',
        b'{"data":{"balance":NaN,"total_credits":NaN,"total_usage":1},"balance":NaN}',
        b'{"data":{"balance":"much","total_credits":Infinity,"total_usage":Infinity},"balance":"much"}',
        b'{"data":{"balance":[],"total_credits":true,"total_usage":null},"balance":{}}',
        b'{"data":{"balance":1e999999999,"total_credits":1e999999999,"total_usage":1},"balance":1e999999999}',
        b'{"data":{"quota":null}}',
        b'{"data":{"quota":{"ai_credits":7},"organization":7}}',
        b'{"data":{"quota":{"ai_credits":{"limit":NaN,"used":"x","bonus":[]}}}}',
    ],
)
def test_an_account_that_cannot_be_read_has_no_balance_and_raises_nothing(provider: str, body: bytes) -> None:
    assert account(provider, reply(200, body)) == AccountFacts(None)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_account_that_cannot_be_asked_says_why(provider: str) -> None:
    assert account(provider, reply(401, b"{}")).again is RetryRule.RESUME
    for answer in (reply(500, b"{}"), reply(404, b"<html>"), reply(302), Lost("gone")):
        assert account(provider, answer).again is RetryRule.AFTER


def test_brands_that_cannot_be_read_do_not_lose_the_balance() -> None:
    for brands in (reply(200, b"<html>"), reply(200, {"data": []}), reply(500), Lost("gone")):
        assert account("bloom", {"/credits": reply(200, {"data": {"balance": 3}}), "/brands": brands}).balance == 3


@pytest.mark.parametrize(
    ("key", "used"),
    [
        ({"usage": 0.1}, Used(Decimal("0.1"), None)),
        ({"usage": "7.25", "byok_usage": 0}, Used(Decimal("7.25"))),
        ({"usage": 1, "byok_usage": 0.5, "limit": None}, Used(Decimal(1), Decimal("0.5"))),
    ],
)
def test_what_an_openrouter_key_has_used_up_is_told_from_what_its_owner_pays_elsewhere(key: Any, used: Used) -> None:
    asked = Canned(reply(200, {"data": key}))
    assert event_loop.run(wire("openrouter", asked).used) == used
    assert asked.asked == [("/key", {})]


@pytest.mark.parametrize(
    "key", [None, [], 7, {}, {"usage": None}, {"usage": -1}, {"usage": True}, {"usage": 1, "byok_usage": None}]
)
def test_a_usage_that_cannot_be_read_is_no_figure(key: Any) -> None:
    for answer in (reply(200, {"data": key}), reply(200, b"<html>"), reply(500), Lost("gone"), reply(401, b"{}")):
        assert isinstance(event_loop.run(wire("openrouter", answer).used), Refused)


def test_a_proof_in_which_a_name_comes_twice_is_none() -> None:
    twice = reply(200, b'{"data":{"usage":1.08,"usage":1.0,"byok_usage":0}}')
    assert isinstance(event_loop.run(wire("openrouter", twice).used), Refused)
    twice = reply(200, b'{"data":{"id":"a","meta":{"genqueue_submission":"ours"},"meta":{}}}')
    assert isinstance(look(Canned(twice)), Refused)


def row(provider: str, name: Any, made: Any = NOW, prompt: Any = "p", **more: Any) -> dict[str, Any]:
    when = made.isoformat() if isinstance(made, datetime) else made
    return {
        "bloom": {"id": name, "createdAt": when, "prompt": prompt, **more},
        "posteverywhere": {"media_id": name, "created_at": when, **more},
        "banatie": {"id": name, "createdAt": when, "originalPrompt": prompt, **more},
    }[provider]


def listing(provider: str, *rows: Any, **pagination: Any) -> Any:
    """A page as the provider gives it; `pagination` lies where its own lies."""
    said = {"pagination": pagination} if pagination else {}
    bodies: dict[str, Any] = {
        "bloom": {"data": {"images": list(rows), **pagination}},
        "posteverywhere": {"data": {"items": list(rows), **said}},
        "banatie": {"data": list(rows), **said},
    }
    return reply(200, bodies[provider])


def shown(provider: str, name: str, **more: Any) -> Listed:
    prompt = None if provider == "posteverywhere" else "p"
    return Listed(name, NOW, **{"prompt": prompt, **more})


@pytest.mark.parametrize(
    ("more", "stated"),
    [
        ({}, ()),
        (
            {"aspectRatio": "21:9", "brandSessionId": "11111111-1111-4111-8111-111111111111"},
            (("aspectRatio", "21:9"), ("brandSessionId", "11111111-1111-4111-8111-111111111111")),
        ),
        ({"aspectRatio": "auto", "brandSessionId": "mine"}, ()),
        ({"aspectRatio": None, "brandSessionId": 7}, ()),
    ],
)
def test_a_row_of_bloom_says_what_its_call_asked_for_in_the_form_of_the_document(more: Any, stated: Any) -> None:
    (found,) = page("bloom", listing("bloom", row("bloom", "a", **more))).rows
    assert found.stated == stated


@LISTS
def test_every_row_of_a_list_stays_a_row_however_odd_it_is(provider: str) -> None:
    odd: list[Any] = [
        None,
        7,
        [],
        {},
        row(provider, "late", made="soon"),
        row(provider, ""),
        row(provider, "x" * 3, made=None),
    ]
    found = page(provider, listing(provider, row(provider, "new"), *odd))
    assert len(found.rows) == 1 + len(odd)
    assert found.rows[0] == shown(provider, "new")
    assert found.rows[1:5] == (Listed(),) * 4
    assert [one.upstream_id for one in found.rows[5:]] == ["late", None, "xxx"]
    assert [one.made_at for one in found.rows[5:]] == [None, NOW, None]


@pytest.mark.parametrize("provider", ["bloom", "banatie"])
@pytest.mark.parametrize("prompt", [None, 7, {}, []])
def test_a_row_without_a_readable_prompt_keeps_its_id_and_time(provider: str, prompt: Any) -> None:
    found = page(provider, listing(provider, row(provider, "a", prompt=prompt)))
    assert found.rows == (Listed("a", NOW),)


@LISTS
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"{}", b'{"data":7}'])
def test_a_list_that_cannot_be_read_is_no_evidence_that_nothing_was_bought(provider: str, body: bytes) -> None:
    for answer in (reply(200, body), reply(500), reply(404, body), Lost("gone")):
        refused = page(provider, answer)
        assert isinstance(refused, Refused)
        assert refused.again is RetryRule.AFTER


@pytest.mark.parametrize(
    ("said", "more", "following"),
    [
        ({"nextCursor": "c", "hasMore": True}, True, "c"),
        ({"nextCursor": "c", "hasMore": False}, True, "c"),
        ({"nextCursor": None, "hasMore": False}, False, None),
        ({"nextCursor": None, "hasMore": True}, True, None),
        ({}, True, None),
        ({"nextCursor": None}, True, None),
        ({"nextCursor": None, "hasMore": None}, True, None),
        ({"nextCursor": None, "hasMore": 0}, True, None),
        ({"nextCursor": None, "hasMore": 1}, True, None),
        ({"nextCursor": None, "hasMore": "false"}, True, None),
        ({"nextCursor": None, "hasMore": "true"}, True, None),
        ({"nextCursor": {"after": "c"}, "hasMore": False}, True, None),
        ({"nextCursor": 1234567, "hasMore": "true"}, True, "1234567"),
        ({"next_cursor": "c", "has_more": True}, True, "c"),
        ({"next_cursor": "c", "hasMore": False}, True, "c"),
        ({"next_cursor": None, "has_more": False}, False, None),
        ({"nextCursor": None, "hasMore": False, "has_more": True}, True, None),
        ({"nextCursor": None, "hasMore": False, "total": 7}, True, None),
        ({"nextCursor": None, "hasMore": False, "total": "7"}, True, None),
        ({"nextCursor": None, "hasMore": False, "total": 1}, False, None),
    ],
)
def test_blooms_list_ends_only_where_it_says_plainly_that_it_does(said: Any, more: bool, following: Any) -> None:  # noqa: FBT001
    found = page("bloom", listing("bloom", row("bloom", "a"), **said))
    assert (found.more, found.following) == (more, following)


@pytest.mark.parametrize("provider", ["banatie", "posteverywhere"])
@pytest.mark.parametrize(
    ("said", "more"),
    [
        ({"limit": 100, "offset": 0}, None),
        ({"hasMore": True}, True),
        ({"hasMore": False}, False),
        ({"hasMore": False, "total": 3}, True),
        ({"hasMore": True, "total": 2}, True),
        ({"total": 2}, False),
        ({"total": "2", "hasMore": "no"}, None),
        ({"total": "2", "hasMore": False}, None),
        ({"total": "3", "hasMore": False}, True),
        ({"total": 3.0, "hasMore": False}, True),
        ({"total": "3.0", "hasMore": False}, True),
        ({"totalCount": 3, "hasMore": False}, True),
        ({"total": 1, "hasMore": False}, None),
        ({"total": [], "hasMore": False}, None),
        ({"total": "many", "hasMore": False}, None),
        ({"total": True, "hasMore": False}, None),
        ({"hasMore": "true"}, True),
        ({"hasMore": 1}, True),
        ({"hasMore": 0}, None),
        ({"hasMore": "false"}, None),
        ({"hasMore": None}, None),
        ({"has_more": True, "hasMore": False}, True),
        ({"has_more": False}, False),
        ({"hasMore": False, "nextOffset": 2}, True),
        ({"hasMore": False, "next": None}, False),
    ],
)
def test_a_short_page_is_the_end_only_where_the_pagination_says_so(provider: str, said: Any, more: bool | None) -> None:  # noqa: FBT001
    found = page(provider, listing(provider, row(provider, "a"), row(provider, "b"), **said))
    assert (found.more, found.following, found.overlaps) == (more, "1", True)


@pytest.mark.parametrize("provider", ["banatie", "posteverywhere"])
def test_the_next_page_begins_with_the_last_row_that_came_not_with_the_one_that_was_asked_for(provider: str) -> None:
    canned = Canned(listing(provider, row(provider, "a"), row(provider, "b"), row(provider, "c")))
    found = page(provider, canned, "40")
    assert [params["offset"] for _, params in canned.asked] == [40]
    assert found.following == "42"
    assert page(provider, listing(provider, row(provider, "a")), "40").following == "41"
    assert page(provider, listing(provider), "40").following is None


def look(canned: Canned, name: str = "a") -> Any:
    return event_loop.run(wire("banatie", canned).look, name)


def full(name: str, reference: Any) -> Any:
    meta = {"genqueue_submission": reference}
    return reply(200, {"data": row("banatie", name, meta=meta)})


@pytest.mark.parametrize(("reference", "read"), [("ours", "ours"), ([], None), ("", None), (7, None)])
def test_a_generations_own_answer_shows_the_reference_that_it_carries(reference: Any, read: str | None) -> None:
    assert look(Canned(full("a", reference))) == Listed("a", NOW, "p", read)


@pytest.mark.parametrize("form", [str.upper, lambda one: one.replace("-", ""), "{{{}}}".format, " {} ".format, str])
def test_a_reference_of_ours_is_known_in_any_form_of_a_uuid(form: Any) -> None:
    """Taken for another call's, a picture would be bought again."""
    ours = "0f8fad5b-d9cb-469f-a165-70867728950e"
    meta = {"genqueue_submission": form(ours)}
    assert look(Canned(full("a", form(ours)))).reference == ours
    assert page("banatie", listing("banatie", row("banatie", "a", meta=meta))).rows[0].reference == ours
    sent = wire("banatie", reply(201, {"data": {"id": "a", "status": "pending", "meta": meta}}))
    assert isinstance(event_loop.run(sent.submit, PaidCall({}, 0, ours)), Accepted)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [{"id": "a", "meta": {}}],
        {"meta": {}},
        row("banatie", "a"),
        row("banatie", "a", meta=None),
        row("banatie", "a", meta=[]),
        row("banatie", "b", meta={}),
        row("banatie", "b", meta={"genqueue_submission": "ours"}),
    ],
)
def test_an_answer_that_does_not_show_this_generation_and_its_meta_says_nothing_of_its_reference(data: Any) -> None:
    looked = look(Canned(reply(200, {"data": data})))
    assert (looked.upstream_id, looked.reference) == ("a", None)


def test_a_generation_whose_meta_has_no_reference_of_ours_is_known_to_have_none() -> None:
    for name in ("a", "A"):
        answer = reply(200, {"data": row("banatie", name, meta={"tag": "x"})})
        assert look(Canned(answer)) == Listed("a", NOW, "p", "")


def test_a_list_that_shows_meta_shows_the_references() -> None:
    meta = {"genqueue_submission": "ours"}
    assert page("banatie", listing("banatie", row("banatie", "a", meta=meta))).rows[0].reference == "ours"


@pytest.mark.parametrize("odd", [reply(500), reply(200, b"<html>"), Lost("gone")])
def test_a_row_that_cannot_be_looked_at_leaves_the_question_open(odd: Any) -> None:
    assert isinstance(look(Canned(odd)), Refused)


def test_a_row_that_is_gone_says_so() -> None:
    assert look(Canned(reply(404, {"error": {"code": "GENERATION_NOT_FOUND"}}))).code == "upstream_gone"


@LISTS
@pytest.mark.parametrize(
    "time", ["2026-05-04", "20260504", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z", "1900-01-01T00:00:00"]
)
def test_a_date_and_the_moment_at_which_a_clock_begins_are_no_time_of_a_row(time: str, provider: str) -> None:
    (row,) = page(provider, listed(provider, time)).rows
    assert row.made_at is None


@LISTS
def test_a_row_says_whether_its_time_names_a_zone(provider: str) -> None:
    times = {"2026-05-04T12:00:00": True, "2026-05-04T12:00:00Z": False, "2026-05-04T12:00:00+02:00": False}
    for time, local in times.items():
        (row,) = page(provider, listed(provider, time)).rows
        assert (row.made_at is not None, row.is_local) == (True, local)


@LISTS
@pytest.mark.parametrize("word", ["partial", "incomplete", "truncated", "timed_out"])
@pytest.mark.parametrize("place", ["", "meta", "pagination"])
def test_a_list_that_says_that_it_is_not_whole_proves_nothing(place: str, word: str, provider: str) -> None:
    said = {place: {word: True}} if place else {word: True}
    assert isinstance(page(provider, listed(provider, "2026-05-04T12:00:00Z", **said)), Refused)
    assert not isinstance(page(provider, listed(provider, "2026-05-04T12:00:00Z", **{word: False})), Refused)


@pytest.mark.parametrize(
    ("status", "failed"),
    [("failed", True), ("Failed ", True), ("success", False), ("pending", False), (None, False), (["failed"], False)],
)
def test_a_row_of_banatie_says_whether_its_picture_failed(status: Any, failed: bool) -> None:  # noqa: FBT001
    (found,) = page("banatie", listing("banatie", row("banatie", "a", status=status))).rows
    assert found.failed is failed


def test_what_was_deleted_is_asked_for_only_where_a_list_is_to_prove_an_absence() -> None:
    for with_deleted in (True, False):
        asked = Canned(listing("banatie"))
        assert not isinstance(event_loop.run(wire("banatie", asked, with_deleted=with_deleted).page), Refused)
        ((_path, parameters),) = asked.asked
        assert parameters.get("includeDeleted") == ("true" if with_deleted else None)


def listed(provider: str, time: str, **more: Any) -> Any:
    """Return a list of one row that was made at `time`."""
    row = {"id": "a", "media_id": "a", "createdAt": time, "created_at": time}
    data = {"bloom": {"images": [row]}, "posteverywhere": {"items": [row]}, "banatie": [row]}[provider]
    return reply(200, {"data": data, **more})
