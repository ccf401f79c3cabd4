"""Look-ups: what a lost call may have bought, and what an account has left, from whatever the answer says."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest

from tests.support.canned_wire import Canned, account, found, reply, wire
from worker.paid_post import Lost
from worker.providers.contract import AccountFacts, Again, Candidate, Found, PaidCall, Refused

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
    assert account(provider, reply(401, b"{}")).again is Again.RESUME
    for answer in (reply(500, b"{}"), reply(404, b"<html>"), reply(302), Lost("gone")):
        assert account(provider, answer).again is Again.AFTER


def test_brands_that_cannot_be_read_do_not_lose_the_balance() -> None:
    for brands in (reply(200, b"<html>"), reply(200, {"data": []}), reply(500), Lost("gone")):
        assert account("bloom", {"/credits": reply(200, {"data": {"balance": 3}}), "/brands": brands}).balance == 3


@pytest.mark.parametrize(
    ("key", "used"),
    [
        ({"usage": 0.1}, Decimal("0.1")),
        ({"usage": "7.25", "byok_usage": 0}, Decimal("7.25")),
        ({"usage": 1, "byok_usage": 0.5, "limit": None}, Decimal("1.5")),
    ],
)
def test_what_an_openrouter_key_has_used_up_includes_what_its_owner_pays_elsewhere(key: Any, used: Decimal) -> None:
    asked = Canned(reply(200, {"data": key}))
    assert anyio.run(wire("openrouter", asked).used) == used
    assert asked.asked == [("/key", {})]


@pytest.mark.parametrize(
    "key", [None, [], 7, {}, {"usage": None}, {"usage": -1}, {"usage": True}, {"usage": 1, "byok_usage": None}]
)
def test_a_usage_that_cannot_be_read_is_no_figure(key: Any) -> None:
    for answer in (reply(200, {"data": key}), reply(200, b"<html>"), reply(500), Lost("gone"), reply(401, b"{}")):
        assert isinstance(anyio.run(wire("openrouter", answer).used), Refused)


@pytest.mark.parametrize("provider", ["getimg", "openrouter"])
def test_nothing_can_be_found_where_nothing_is_listed(provider: str) -> None:
    assert found(provider, None, {"prompt": "p"}, NOW) == Found((), complete=False)


def row(provider: str, name: str, made: Any = NOW, prompt: Any = "p", **more: Any) -> dict[str, Any]:
    when = made.isoformat() if isinstance(made, datetime) else made
    return {
        "bloom": {"id": name, "createdAt": when, "prompt": prompt, **more},
        "posteverywhere": {"media_id": name, "created_at": when, **more},
        "banatie": {"id": name, "createdAt": when, "originalPrompt": prompt, **more},
    }[provider]


def listing(provider: str, *rows: Any) -> Any:
    data = {"bloom": {"images": list(rows)}, "posteverywhere": {"items": list(rows)}, "banatie": list(rows)}
    return reply(200, {"data": data[provider]})


@pytest.mark.parametrize("provider", ["bloom", "posteverywhere"])
def test_what_was_made_since_is_evidence_and_carries_no_reference(provider: str) -> None:
    odd = [None, 7, {}, row(provider, "odd", made="soon"), row(provider, "none", made=None), row(provider, "")]
    rows = [row(provider, "new", NOW + HOUR), *odd, row(provider, "then"), row(provider, "old", NOW - HOUR)]
    answer = found(provider, listing(provider, *rows), {"prompt": "p"}, NOW)
    assert answer.candidates == (Candidate("new", NOW + HOUR), Candidate("then", NOW))


@pytest.mark.parametrize("prompt", ["P", "pp", None, 7, {}])
def test_blooms_pictures_of_another_prompt_are_not_ours(prompt: Any) -> None:
    assert found("bloom", listing("bloom", row("bloom", "a", prompt=prompt)), {"prompt": "p"}, NOW).candidates == ()


@pytest.mark.parametrize("prompt", ["a b", " a  b\n"])
def test_blooms_prompt_may_come_back_with_other_spaces(prompt: str) -> None:
    answer = found("bloom", listing("bloom", row("bloom", "a", prompt=prompt)), {"prompt": "a b "}, NOW)
    assert answer == Found((Candidate("a", NOW),), complete=True)


@LISTS
def test_without_a_call_everything_made_since_is_listed(provider: str) -> None:
    rows = [row(provider, "b", NOW + HOUR, prompt="q"), row(provider, "a"), row(provider, "old", NOW - HOUR)]
    everything = anyio.run(wire(provider, listing(provider, *rows)).find, None, NOW)
    assert {candidate.upstream_id for candidate in everything.candidates} == {"a", "b"}
    assert everything.complete


@LISTS
@pytest.mark.parametrize("odd", [None, 7, {}, {"made": "soon"}, {"made": None}])
def test_a_list_with_a_row_that_cannot_be_read_is_no_proof_that_nothing_was_bought(provider: str, odd: Any) -> None:
    unread = row(provider, "odd", **odd) if isinstance(odd, dict) and odd else odd
    answer = found(provider, listing(provider, unread), {"prompt": "p"}, NOW)
    assert answer == Found((), complete=False)


@LISTS
def test_a_full_page_with_one_row_that_cannot_be_read_is_not_the_whole_list(provider: str) -> None:
    def page(_params: Any) -> Any:
        others = [row(provider, f"n{number}", prompt="q") for number in range(99)]
        return listing(provider, *others, None)

    assert not found(provider, Canned(page), {"prompt": "p"}, NOW).complete


@pytest.mark.parametrize("provider", ["bloom", "banatie"])
def test_a_list_that_shows_no_prompts_is_no_proof_that_nothing_was_bought(provider: str) -> None:
    silent = {name: value for name, value in row(provider, "a").items() if name not in {"prompt", "originalPrompt"}}
    each = {"/generations/a": reply(500)} if provider == "banatie" else {}
    answer = found(provider, {**each, "": listing(provider, silent)}, {"prompt": "p"}, NOW)
    assert isinstance(answer, Refused) or not answer.complete


@LISTS
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"{}", b'{"data":7}'])
def test_a_list_that_cannot_be_read_is_no_evidence_that_nothing_was_bought(provider: str, body: bytes) -> None:
    for answer in (reply(200, body), reply(500), reply(404, body), Lost("gone")):
        refused = found(provider, answer, {"prompt": "p"}, NOW)
        assert isinstance(refused, Refused)
        assert refused.again is Again.AFTER


def banatie(*rows: Any, **each: Any) -> Canned:
    """Answer with pages of the rows, and with each generation by its id."""

    def listed(params: Any) -> Any:
        return listing("banatie", *rows[params["offset"] : params["offset"] + params["limit"]])

    single = {f"/generations/{name}": answer for name, answer in each.items()}
    return Canned({**single, "/generations": listed})


def full(name: str, reference: Any) -> Any:
    meta = {"genqueue_submission": reference}
    return reply(200, {"data": row("banatie", name, meta=meta)})


def look(canned: Canned, prompt: str = "p") -> Any:
    return anyio.run(wire("banatie", canned).find, PaidCall({"prompt": prompt}, 0, "ours"), NOW)


def mine(upstream_id: str) -> Found:
    return Found((Candidate(upstream_id, NOW, "ours"),), complete=True)


def test_only_the_row_with_our_reference_is_ours() -> None:
    rows = [row("banatie", name) for name in ("gone", "theirs", "odd", "mine")]
    gone = reply(404, {"error": {"code": "GENERATION_NOT_FOUND"}})
    canned = banatie(*rows, gone=gone, theirs=full("theirs", "x"), odd=full("odd", []), mine=full("mine", "ours"))
    assert look(canned) == mine("mine")


def test_a_list_that_shows_meta_needs_no_further_request() -> None:
    shown = [row("banatie", name, meta={"genqueue_submission": name}) for name in ("theirs", "ours")]
    canned = banatie(*shown)
    assert look(canned) == mine("ours")
    assert len(canned.asked) == 1


def test_a_match_by_reference_does_not_hang_on_a_time_that_its_own_answer_lacks() -> None:
    timeless = reply(200, {"data": {"id": "a", "meta": {"genqueue_submission": "ours"}}})
    assert look(banatie(row("banatie", "a"), a=timeless)) == mine("a")


def test_a_prompt_that_came_back_with_other_spaces_is_the_same() -> None:
    canned = banatie(row("banatie", "a", prompt="a  b"), a=full("a", "ours"))
    assert look(canned, " a b\n") == mine("a")


@pytest.mark.parametrize("odd", [reply(500), reply(200, b"<html>"), Lost("gone")])
def test_a_row_that_cannot_be_looked_at_leaves_the_question_open(odd: Any) -> None:
    assert isinstance(look(banatie(row("banatie", "a"), a=odd)), Refused)


def test_pages_are_read_back_to_the_call_and_no_further_than_their_bound() -> None:
    others = [row("banatie", f"n{number}", prompt="q") for number in range(250)]
    canned = banatie(*others, row("banatie", "mine"), mine=full("mine", "ours"))
    assert look(canned) == mine("mine")
    endless = banatie(*(row("banatie", f"n{number}", prompt="q") for number in range(2000)))
    assert look(endless) == Found((), complete=False)
    assert len(endless.asked) == 5
    old = banatie(*(row("banatie", f"n{number}", NOW - HOUR) for number in range(500)))
    assert look(old) == Found((), complete=True)
    assert len(old.asked) == 1


def test_twins_beyond_a_bound_are_not_looked_at_one_by_one() -> None:
    twins = [row("banatie", f"n{number:03}") for number in range(90)]
    canned = banatie(*twins, **{f"n{number:03}": full("x", "theirs") for number in range(90)})
    assert look(canned) == Found((), complete=False)
    assert len(canned.asked) == 1 + 20


def test_twins_that_are_owned_already_cost_no_request() -> None:
    twins = [row("banatie", f"n{number:03}") for number in range(90)]
    canned = banatie(*twins, n042=full("n042", "ours"))
    owned = {f"n{number:03}" for number in range(90)} - {"n042"}
    call = PaidCall({"prompt": "p"}, 0, "ours")
    assert anyio.run(wire("banatie", canned).find, call, NOW, owned) == mine("n042")
    assert len(canned.asked) == 1 + 1


def test_blooms_pages_are_read_back_to_the_call_and_no_further_than_their_bound() -> None:
    def page(params: Any) -> Any:
        number = int(params.get("cursor", 0))
        rows = [row("bloom", f"{number}-{place}", prompt="ours" if number == 3 else "other") for place in range(100)]
        return reply(200, {"data": {"images": rows, "nextCursor": str(number + 1), "hasMore": True}})

    canned = Canned(page)
    ours = found("bloom", canned, {"prompt": "ours"}, NOW)
    assert (len(ours.candidates), ours.complete) == (100, False)
    assert len(canned.asked) == 5
    assert json.dumps([params.get("cursor") for _, params in canned.asked]) == '[null, "1", "2", "3", "4"]'
