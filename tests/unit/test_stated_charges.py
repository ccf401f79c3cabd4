"""A charge, a name or pictures in an error's body are stronger than its status: nothing is bought twice or lost."""

import json
from typing import Any

import pytest

from shared.lifecycle import Outcome
from tests.support.canned_wire import KEY, reply, submitted, verdict
from worker.providers.contract import Accepted, RetryRule
from worker.providers.tell_tales import stated_charge
from worker.transport.paid_post import Lost

NO, MAYBE = Outcome.REJECTED, Outcome.UNKNOWN
AFTER, RESUME = RetryRule.AFTER, RetryRule.RESUME
EACH = pytest.mark.parametrize("provider", ["bloom", "getimg", "openrouter", "posteverywhere", "banatie"])
CHARGES: list[dict[str, Any]] = [
    {"usage": {"cost": 0.04}},
    {"usage": {"cost": "0.04"}},
    {"usage": {"total_cost": 0.035}},
    {"usage": {"cost": 0, "cost_details": {"upstream_inference_cost": 0.04}}},
    {"data": {"credits_used": 1}},
    {"credits_used": 1},
]
ERRORS: list[Any] = [200, 400, 402, 422, 429, 500, 502, 503]


@EACH
@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("charge", CHARGES, ids=json.dumps)
@pytest.mark.parametrize("code", [402, 429, 502])
def test_what_states_its_charge_is_never_refused_and_its_answer_is_kept(
    code: int, charge: dict[str, Any], status: int, provider: str
) -> None:
    body = {"error": {"code": code, "message": "the model is busy"}, **charge}
    refused = submitted(provider, reply(status, body))
    assert (refused.outcome, refused.code) == (MAYBE, "charge_stated")
    assert "it states a charge of" in refused.message
    assert refused.body == json.dumps(body).encode() or (provider == "openrouter" and status == 200)  # kept by its sink


SPELT: list[dict[str, Any]] = [
    {"usage": {"cost": "$0.04"}},
    {"usage": {"total_cost": "0.04 USD"}},
    {"usage": {"totalCost": 0.04}},
    {"usage": [{"total_cost": 0.04}]},
    {"credits_used": "15 credits"},
    {"creditsUsed": 15},
    {"data": {"credits_charged": 15}},
]


@EACH
@pytest.mark.parametrize("charge", SPELT, ids=json.dumps)
def test_a_charge_counts_however_it_is_spelt(charge: dict[str, Any], provider: str) -> None:
    body = {"error": {"code": 429, "message": "busy"}, **charge}
    assert verdict(submitted(provider, reply(429, body)))[::2] == (MAYBE, "charge_stated")


@EACH
@pytest.mark.parametrize("charge", ["$0.00", "0 credits", "-15 credits", "none", "up to 3 of 15 credits", "$"])
def test_text_without_an_amount_of_its_own_is_no_charge(charge: str, provider: str) -> None:
    body = {"error": {"code": 429, "message": "busy"}, "credits_used": charge}
    assert submitted(provider, reply(429, body)).outcome is NO


@EACH
def test_a_charge_inside_the_error_counts_too(provider: str) -> None:
    body = {"error": {"code": 429, "message": "busy", "usage": {"cost": 0.04}}}
    assert submitted(provider, reply(429, body)).outcome is MAYBE


@EACH
@pytest.mark.parametrize("charge", [{"usage": {"cost": 0.04}}, {"usage": {"total_cost": "0.04"}}, {"credits_used": 15}])
@pytest.mark.parametrize("part", ["details", "metadata", "data"])
def test_a_charge_in_a_part_of_the_error_counts_too(part: str, charge: dict[str, Any], provider: str) -> None:
    body = {"error": {"code": 429, "message": "busy", part: charge}}
    assert verdict(submitted(provider, reply(429, body)))[::2] == (MAYBE, "charge_stated")


@EACH
@pytest.mark.parametrize("part", ["meta", "details", "metadata"])
def test_a_charge_beside_the_error_counts_too(part: str, provider: str) -> None:
    body = {"error": {"code": 429, "message": "busy"}, part: {"credits_used": 15}}
    assert verdict(submitted(provider, reply(429, body)))[::2] == (MAYBE, "charge_stated")


@EACH
def test_what_an_account_has_used_in_all_is_no_charge_of_the_call(provider: str) -> None:
    details = {"credits_required": 15, "credits_available": 3, "credits_used": 497}
    body = {"data": None, "error": {"code": "insufficient_credits", "message": "no", "details": details}}
    assert verdict(submitted(provider, reply(402, body))) == (NO, RESUME, "account_out_of_credit")


@EACH
@pytest.mark.parametrize(
    ("status", "expected"), [(402, (NO, RESUME, "account_out_of_credit")), (429, (NO, AFTER, "rate_limited"))]
)
@pytest.mark.parametrize("charge", [0, "0.000", -1, None, "free", True, [0.04], {"usd": 1}])
def test_a_charge_of_nothing_changes_nothing(charge: Any, status: int, expected: Any, provider: str) -> None:
    usage = {"cost": charge, "total_cost": charge, "cost_details": {"upstream_inference_cost": charge}}
    body = {"error": {"code": "X", "message": "no"}, "usage": usage, "data": {"credits_used": charge}}
    assert verdict(submitted(provider, reply(status, body))) == expected


def test_of_several_charges_the_highest_is_named() -> None:
    assert str(stated_charge({"usage": {"cost": 0, "total_cost": "0.05"}, "data": {"credits_used": 1}})) == "1"


def test_an_account_that_cannot_pay_is_paused_although_the_call_was_charged() -> None:
    body = {"error": {"code": 402, "message": "no credit"}, "usage": {"cost": 0.04}}
    assert verdict(submitted("openrouter", reply(402, body))) == (MAYBE, RESUME, "charge_stated")


RECEIPTS: dict[str, dict[str, Any]] = {
    "bloom": {"data": {"ids": ["a"], "status": "pending"}},
    "getimg": {
        "id": "req-1",
        "data": [{"url": "https://h.example/a"}],
        "usage": {"total_cost": 0.035},
    },
    "openrouter": {"data": [{"b64_json": "AAAA"}], "usage": {"cost": 0.04}},
    "posteverywhere": {"data": {"media_id": "a", "credits_used": 1}},
    "banatie": {"success": True, "data": {"id": "a", "status": "pending"}},
}


@EACH
@pytest.mark.parametrize("status", [301, 400, 402, 404, 422, 429, 500, 503])
def test_a_receipt_under_a_wrong_status_is_a_receipt(status: int, provider: str) -> None:
    answer = submitted(provider, reply(status, RECEIPTS[provider]))
    assert isinstance(answer, Accepted)
    assert (answer.http_status, len(answer.images)) == (status, 1)


@EACH
@pytest.mark.parametrize("status", [200, 301, 400, 402, 422, 429, 500, 503])
def test_a_whole_receipt_is_one_although_its_answer_broke_off(status: int, provider: str) -> None:
    answer = submitted(provider, Lost("cut", status, json.dumps(RECEIPTS[provider]).encode()))
    assert isinstance(answer, Accepted)
    assert (answer.http_status, len(answer.images), answer.whole) == (status, 1, False)


@EACH
@pytest.mark.parametrize("status", [400, 402, 422, 429])
def test_an_error_that_broke_off_refuses_nothing_although_its_json_is_whole(status: int, provider: str) -> None:
    error = {"success": False, "error": {"code": "X", "message": "no"}}
    assert submitted(provider, Lost("cut", status, json.dumps(error).encode())).outcome is MAYBE


@EACH
@pytest.mark.parametrize("status", [200, 202])
def test_the_handle_of_an_answer_that_broke_off_is_kept_with_the_reason(status: int, provider: str) -> None:
    name = "x-generation-id" if provider == "openrouter" else "location"
    refused = submitted(provider, Lost("cut", status, b'{"da', {name: "/images/a-7"}))
    assert refused.outcome is MAYBE
    assert "a-7" in refused.message


@pytest.mark.parametrize("provider", ["getimg", "openrouter"])
def test_pictures_beside_an_error_are_taken_whatever_the_status(provider: str) -> None:
    body = {**RECEIPTS[provider], "error": {"code": 500, "message": "a late fault"}}
    assert isinstance(submitted(provider, reply(500, body)), Accepted)


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("bloom", {"code": "BAD", "status": 400, "message": "why", "data": {"ids": ["a"]}}),
        ("banatie", {"success": False, "error": {"code": "ALIAS_CONFLICT", "message": "x"}, "data": {"id": "a"}}),
        ("posteverywhere", {"data": {"media_id": "a"}, "error": {"code": "conflict", "message": "x"}}),
    ],
)
@pytest.mark.parametrize("status", [400, 409, 429])
def test_an_id_beside_an_error_may_be_anothers_and_is_held(provider: str, body: Any, status: int) -> None:
    refused = submitted(provider, reply(status, body))
    assert refused.outcome is MAYBE
    assert refused.body == json.dumps(body).encode()


@EACH
@pytest.mark.parametrize("name", ["id", "ids", "imageIds", "media_id", "media_ids"])
@pytest.mark.parametrize("status", [402, 429])
def test_what_only_names_a_purchase_is_held(status: int, name: str, provider: str) -> None:
    body = {"status": "completed", name: ["a"] if name.endswith("s") else "a"}
    refused = submitted(provider, reply(status, body))
    assert (refused.outcome, refused.code) == (MAYBE, "answer_unreadable")
    assert refused.body


@pytest.mark.parametrize("provider", ["bloom", "getimg", "posteverywhere", "banatie"])
@pytest.mark.parametrize("body", [b"", b"{}", {"status": "queued"}])
def test_a_handle_that_stands_only_in_a_header_is_kept_with_the_reason(body: Any, provider: str) -> None:
    headers = {"Location": "https://p.example/v2/jobs/7?sig=s", "X-Request-Id": "r-1"}
    refused = submitted(provider, reply(202, body, headers))
    assert (refused.outcome, refused.code) == (MAYBE, "answer_unreadable")
    assert refused.message.endswith("; location: https://p.example/v2/jobs/7?...; x-request-id: r-1")
    assert len(submitted(provider, reply(202, body, {"Location": "/x" * 4000})).message) <= 500
    assert KEY not in submitted(provider, reply(202, body, {"Location": f"/jobs/{KEY}"})).message


def test_the_generation_of_an_answer_without_images_is_kept_with_the_reason() -> None:
    refused = submitted("openrouter", reply(200, b"{}", {"X-Generation-Id": "gen-1"}))
    assert refused.message.endswith("; generation gen-1")
    no_credit = {"error": {"code": 402, "message": "no credit"}}
    assert submitted("openrouter", reply(200, no_credit, {"X-Generation-Id": "gen-1"})).message.endswith("no credit")


@pytest.mark.parametrize("body", [b"{}", RECEIPTS["openrouter"]])
def test_a_generation_that_quotes_our_key_is_not_kept(body: Any) -> None:
    for quoted in (KEY, f"Bearer {KEY.upper()}"):
        assert KEY not in repr(submitted("openrouter", reply(200, body, {"X-Generation-Id": quoted})))
        assert KEY.upper() not in repr(submitted("openrouter", reply(200, body, {"X-Generation-Id": quoted})))


@EACH
@pytest.mark.parametrize("status", [402, 429])
def test_an_error_with_a_number_of_its_own_is_still_that_error(status: int, provider: str) -> None:
    body = {"id": "error-7", "error": {"code": "X", "message": "no"}}
    assert submitted(provider, reply(status, body)).outcome is NO


@EACH
@pytest.mark.parametrize(
    "result",
    [
        reply(503, b"<html>maintenance</html>"),
        reply(500, {"error": {"code": "X", "message": f"the key {KEY}"}}),
        Lost("cut", 500, b'{"data":{"ids":["a"]}'),
    ],
)
def test_the_body_of_whatever_may_have_been_bought_is_kept(result: Any, provider: str) -> None:
    assert submitted(provider, result).body == result.body
