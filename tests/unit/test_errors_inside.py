"""An error inside a success is read as what it is; whether it was bought stays open unless its own code says so."""

import tracemalloc
from typing import Any

import pytest

from shared.lifecycle import ImageState, Outcome
from tests.support.canned_wire import account, polled, reply, submitted, verdict, wire
from worker import event_loop
from worker.providers.contract import Accepted, Refused, RetryRule
from worker.providers.reading import UnreadableError, link_of, read_json, readable, text_of
from worker.transport.paid_post import Lost

NO, MAYBE = Outcome.REJECTED, Outcome.UNKNOWN
AFTER, RESUME = RetryRule.AFTER, RetryRule.RESUME
NAMES = ["bloom", "getimg", "openrouter", "posteverywhere", "banatie"]
EACH = pytest.mark.parametrize("provider", NAMES)
POLLED = pytest.mark.parametrize("provider", ["bloom", "posteverywhere", "banatie"])

ENVELOPES: dict[str, Any] = {
    "openrouter": lambda code, words: {"error": {"code": code, "message": words}},
    "nested word": lambda code, words: {"error": {"code": f"E{code}", "status": code, "message": words}},
    "posteverywhere": lambda code, words: {"data": None, "error": {"code": str(code), "message": words}, "meta": {}},
    "banatie": lambda code, words: {"success": False, "error": {"message": words, "code": code}},
    "bloom": lambda code, words: {"defined": True, "code": "WHY", "status": code, "message": words},
    "http_status": lambda code, words: {"error": {"http_status": code, "error_type": "why", "message": words}},
    "data beside": lambda code, words: {"data": [], "error": {"code": code, "message": words}},
}
SHAPES = pytest.mark.parametrize("shape", list(ENVELOPES))


@EACH
@SHAPES
@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (401, (NO, RESUME, "account_unauthorized")),
        (402, (NO, RESUME, "account_out_of_credit")),
        (429, (NO, AFTER, "rate_limited")),
        (400, (MAYBE, AFTER, "provider_error")),
        (403, (MAYBE, AFTER, "provider_error")),
        (404, (MAYBE, AFTER, "provider_error")),
        (422, (MAYBE, AFTER, "provider_error")),
        (500, (MAYBE, AFTER, "provider_error")),
        (502, (MAYBE, AFTER, "provider_error")),
        (503, (MAYBE, AFTER, "provider_error")),
    ],
)
def test_an_error_inside_a_success_says_what_it_is_in_the_providers_own_words(
    code: int, expected: Any, status: int, shape: str, provider: str
) -> None:
    refused = submitted(provider, reply(status, ENVELOPES[shape](code, "the model tripped")))
    assert verdict(refused) == expected
    assert refused.message.startswith(f"HTTP {status} with an error inside: {code}")
    assert refused.message.endswith("the model tripped")
    assert refused.http_status == status


@EACH
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("UNAUTHORIZED", (NO, RESUME, "account_unauthorized")),
        ("authentication_failed", (NO, RESUME, "account_unauthorized")),
        ("insufficient_credits", (NO, RESUME, "account_out_of_credit")),
        ("PAYMENT_REQUIRED", (NO, RESUME, "account_out_of_credit")),
        ("rate_limited", (NO, AFTER, "rate_limited")),
        ("RATE_LIMIT_EXCEEDED", (NO, AFTER, "rate_limited")),
        ("internal_error", (MAYBE, AFTER, "provider_error")),
        ("GENERATION_FAILED", (MAYBE, AFTER, "provider_error")),
    ],
)
def test_a_word_counts_as_the_status_that_it_stands_for(word: str, expected: Any, provider: str) -> None:
    assert verdict(submitted(provider, reply(200, {"error": {"code": word, "message": "why"}}))) == expected


@EACH
@pytest.mark.parametrize("error", ["it broke", {"message": "it broke"}, {"message": "it broke", "code": ["odd"]}])
def test_an_error_without_a_code_still_has_its_words(error: Any, provider: str) -> None:
    refused = submitted(provider, reply(200, {"success": False, "error": error}))
    assert verdict(refused) == (MAYBE, AFTER, "provider_error")
    assert "it broke" in refused.message


@EACH
def test_an_error_that_broke_off_after_its_end_is_read_too(provider: str) -> None:
    body = b'{"error": {"code": 402, "message": "no credit"}}'
    assert verdict(submitted(provider, Lost("cut", 200, body))) == (NO, RESUME, "account_out_of_credit")


@EACH
@pytest.mark.parametrize("body", [{"error": None}, {"error": {}}, {"error": ""}, {"success": True}, {"status": 402}])
def test_what_tells_no_error_is_only_unreadable(body: Any, provider: str) -> None:
    assert verdict(submitted(provider, reply(200, body))) == (MAYBE, AFTER, "answer_unreadable")


PICTURES: dict[str, Any] = {
    "bloom": {"data": {"ids": ["a"]}},
    "getimg": {"data": [{"url": "https://h.example/a"}]},
    "openrouter": {"data": [{"b64_json": "AAAA"}]},
    "posteverywhere": {"data": {"media_id": "a"}},
    "banatie": {"data": {"id": "a", "status": "success", "outputImage": {"storageUrl": "https://h.example/a"}}},
}


@EACH
def test_an_answer_with_pictures_and_an_error_keeps_the_pictures(provider: str) -> None:
    body = {**PICTURES[provider], "success": False, "error": {"code": 402, "message": "no credit"}}
    answer = submitted(provider, reply(200, body))
    assert isinstance(answer, Accepted)
    assert len(answer.images) == 1


@EACH
def test_an_error_in_place_of_an_account_is_that_error(provider: str) -> None:
    found = account(provider, reply(200, {"error": {"code": 401, "message": "who are you"}}))
    assert isinstance(found, Refused)
    assert (found.code, found.again) == ("account_unauthorized", RESUME)


@POLLED
@pytest.mark.parametrize("ids", [("a",), ("a", "b")])
def test_an_error_in_place_of_pictures_ends_none_of_them(ids: tuple[str, ...], provider: str) -> None:
    for code in ("IMAGE_NOT_FOUND", "GENERATION_NOT_FOUND", "not_found", 404, 500):
        body = {"success": False, "error": {"code": code, "status": 404, "message": "why"}}
        found = polled(reply(200, body), *ids, provider=provider)
        assert isinstance(found, Refused)
        assert (found.code, found.again) == ("provider_error", AFTER)
        assert "why" in found.message


LONG = "x" * 201


@POLLED
def test_an_id_that_is_too_long_is_no_id(provider: str) -> None:
    bodies = {"bloom": {"data": {"ids": [LONG]}}, "posteverywhere": {"data": {"media_id": LONG}}}
    refused = submitted(provider, reply(201, bodies.get(provider, {"data": {"id": LONG, "status": "pending"}})))
    assert verdict(refused) == (MAYBE, AFTER, "answer_unreadable")


@pytest.mark.parametrize("before", ["", " ", "\n"])
@pytest.mark.parametrize("after", ["\n", "\t", "\r\n ", "\u00a0"])
def test_white_space_around_a_link_is_no_part_of_it(before: str, after: str) -> None:
    link = "https://h.example/a%20b?sig=x%2By"
    broken = before + link.replace("?", "\r\n?") + after
    for provider, body in {
        "getimg": {"id": "r", "data": [{"url": broken}]},
        "banatie": {"data": {"id": "a", "status": "success", "outputImage": {"storageUrl": broken}}},
    }.items():
        assert [one.link for one in submitted(provider, reply(201, body)).images] == [link]
    assert link_of(f"/img/a{after}", "https://h.example/api") == "https://h.example/img/a"


def test_a_picture_with_a_link_needs_no_id() -> None:
    link = "https://h.example/a"
    body = {"data": {"id": LONG, "status": "success", "outputImage": {"storageUrl": link}}}
    (image,) = submitted("banatie", reply(201, body)).images
    assert (image.state, image.upstream_id, image.link) == (ImageState.READY, None, link)
    answer = submitted("getimg", reply(200, {"id": LONG, "data": [{"url": link}]}))
    assert (answer.upstream_id, [one.link for one in answer.images]) == (None, [link])


@pytest.mark.parametrize(
    "name", ["a\u202eb", "a\u2028b", "a\nb", "a\x00", "\ud800", "", LONG, 10**300, None, True, 1.5]
)
def test_what_is_no_id(name: Any) -> None:
    with pytest.raises(UnreadableError):
        text_of(name)


@pytest.mark.parametrize("link", ["https://h.example/" + "x" * 17_000, "https://h.example/\x00", "", 7, "reply:a/0"])
def test_what_is_no_link(link: Any) -> None:
    with pytest.raises(UnreadableError):
        link_of(link, "https://h.example")


def test_a_signed_link_of_several_thousand_characters_is_one() -> None:
    link = "https://h.example/?Policy=" + "x" * 8000
    assert link_of(link, "https://h.example") == link


@pytest.mark.parametrize("provider", ["bloom", "getimg", "posteverywhere"])
def test_an_answer_of_60_000_entries_is_read_up_to_a_hundred_and_the_rest_counted(provider: str) -> None:
    many = [f"id-{number}" for number in range(60_000)]
    bodies: dict[str, Any] = {
        "bloom": {"data": {"ids": many}},
        "getimg": {"data": [{"url": f"https://h.example/{name}"} for name in many]},
        "posteverywhere": {"data": {"media_ids": many}},
    }
    answer = submitted(provider, reply(200, bodies[provider]))
    assert (len(answer.images), answer.left_out) == (100, 59_900)


def test_a_list_of_more_rows_than_any_page_is_cut_and_so_never_whole() -> None:
    assert len(readable(list(range(5000)), text_of)) == 2000


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 4_000_000 + b"{}]",
        b"[" + b"[]," * 4_000_000 + b"[]]",
        b"[" + b"1.5," * 3_000_000 + b"1]",
        b"[" * 8_000_000,
        b'{"a":' * 1_000_000,
    ],
    ids=["objects", "lists", "numbers", "deep lists", "deep objects"],
)
def test_an_answer_of_millions_of_parts_costs_no_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError, match="too many parts"):
            read_json(body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


WARNED: dict[str, tuple[dict[str, Any], str]] = {
    "bloom": ({"id": "a", "status": "completed", "imageUrl": "https://cdn.example/a"}, "images"),
    "posteverywhere": ({"media_id": "a", "status": "ready", "url": "https://cdn.example/a"}, "items"),
    "banatie": ({"id": "a", "status": "success", "outputImage": {"storageUrl": "https://cdn.example/a"}}, ""),
}


@POLLED
@pytest.mark.parametrize("ids", [["a"], ["a", "b"]])
def test_a_warning_beside_what_was_asked_for_is_no_error(provider: str, ids: list[str]) -> None:
    row, name = WARNED[provider]
    rows = {name: [row]} if name else [row]
    data = row if len(ids) == 1 else rows
    said = reply(200, {"data": data, "error": {"code": "thumbnail_failed", "message": "no thumbnail"}})
    assert polled(said, *ids, provider=provider)["a"].link == "https://cdn.example/a"


@POLLED
def test_a_list_that_is_to_prove_an_absence_has_no_error_beside_it(provider: str) -> None:
    row, name = WARNED[provider]
    said = reply(200, {"data": {name: [row]} if name else [row], "error": {"code": "partial", "message": "timed out"}})
    assert isinstance(event_loop.run(wire(provider, said).page), Refused)


@POLLED
def test_an_error_beside_an_answer_that_says_nothing_is_an_error(provider: str) -> None:
    said = reply(200, {"data": {"id": "a", "media_id": "a"}, "error": {"code": 500, "message": "it broke"}})
    assert polled(said, "a", provider=provider).code == "provider_error"
