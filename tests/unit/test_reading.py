"""Answers that are JSON but for a byte, a break or a remark: what is paid for in them is read, nothing is guessed."""

import gzip
import json
from typing import Any

import pytest

from shared.lifecycle import ImageState
from tests.support.canned_wire import page, polled, reply, submitted
from worker.providers.contract import Accepted
from worker.providers.listed import words_of
from worker.providers.reading import (
    DAMAGED,
    UnreadableError,
    link_of,
    read_json,
    read_proof,
    repetition,
    text_of,
)

EACH = pytest.mark.parametrize("provider", ["bloom", "getimg", "openrouter", "posteverywhere", "banatie"])
ASKED = pytest.mark.parametrize("provider", ["bloom", "posteverywhere", "banatie"])
LINK = "https://h.example/a"
RECEIPTS: dict[str, dict[str, Any]] = {
    "bloom": {"data": {"ids": ["a"]}},
    "getimg": {"id": "req-1", "data": [{"url": LINK}]},
    "openrouter": {"data": [{"b64_json": "AAAA"}]},
    "posteverywhere": {"data": {"media_id": "a"}},
    "banatie": {"success": True, "data": {"id": "a", "status": "pending"}},
}
PICTURES: dict[str, dict[str, Any]] = {
    "bloom": {"id": "a", "status": "completed", "imageUrl": LINK},
    "posteverywhere": {"media_id": "a", "status": "ready", "url": LINK},
    "banatie": {"id": "a", "status": "success", "outputImage": {"storageUrl": LINK}},
}
ODD = {
    "a byte of Latin-1": lambda body: b'{"prompt":"caf\xe9",' + body[1:],
    "a character that was cut": lambda body: b'{"prompt":"caf\xc3",' + body[1:],
    "a line break in a string": lambda body: b'{"prompt":"a\r\n\tb",' + body[1:],
    "a remark behind it": lambda body: body + b"<!-- cached -->",
    "a NUL behind it": lambda body: body + b"\0",
    "blanks around it": lambda body: b"\n " + body + b"\n",
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
}
ODDITIES = pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))


@EACH
@ODDITIES
def test_a_receipt_is_read_whatever_stands_beside_it(odd: Any, provider: str) -> None:
    answer = submitted(provider, reply(200, odd(json.dumps(RECEIPTS[provider]).encode())))
    assert isinstance(answer, Accepted)
    assert len(answer.images) == 1


@ASKED
@ODDITIES
def test_a_picture_is_found_whatever_stands_beside_it(odd: Any, provider: str) -> None:
    found = polled(reply(200, odd(json.dumps({"data": PICTURES[provider]}).encode())), "a", provider=provider)["a"]
    assert (found.state, found.link) == (ImageState.READY, LINK)


def in_lists(value: Any) -> Any:
    """Put each value of an object into a list of one, but a state: such a one may be no end."""
    if isinstance(value, dict):
        return {name: one if name == "status" else [in_lists(one)] for name, one in value.items()}
    return value


@ASKED
def test_a_picture_is_found_although_its_id_and_its_link_are_lists_of_one(provider: str) -> None:
    found = polled(reply(200, {"data": in_lists(PICTURES[provider])}), "a", provider=provider)["a"]
    assert (found.state, found.link) == (ImageState.READY, LINK)


@pytest.mark.parametrize(
    ("provider", "data"),
    [
        ("bloom", {"ids": [["a"]]}),
        ("getimg", [{"url": [LINK]}]),
        ("posteverywhere", {"media_id": ["a"], "media_ids": [["a"]]}),
        ("banatie", {"id": ["a"], "status": ["pending"]}),
    ],
)
def test_a_receipt_is_read_although_its_values_are_lists_of_one(provider: str, data: Any) -> None:
    answer = submitted(provider, reply(200, {"success": True, "data": data}))
    assert isinstance(answer, Accepted)
    (image,) = answer.images
    assert (image.upstream_id or image.link) == (LINK if provider == "getimg" else "a")


@pytest.mark.parametrize("body", [b'{"data":[]}{"data":[1]}', b'{"data":[]}\n[1]', b"404 page not found", b'"a" b'])
def test_what_follows_an_answer_may_be_a_remark_but_no_further_rows(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_json(body)


def test_what_came_damaged_names_nothing_and_finds_nothing() -> None:
    for damaged in (f"a{DAMAGED}", DAMAGED):
        with pytest.raises(UnreadableError):
            text_of(damaged)
        with pytest.raises(UnreadableError):
            link_of(f"https://h.example/{damaged}", LINK)
        assert words_of(damaged) is None


@pytest.mark.parametrize("provider", ["bloom", "banatie"])
def test_a_row_with_a_damaged_prompt_says_nothing_of_its_prompt(provider: str) -> None:
    row = b'{"id":"a","prompt":"caf\xe9","originalPrompt":"caf\xe9","createdAt":"2026-05-04T12:00:00Z"}'
    body = b'{"data":{"images":[%b],"hasMore":false}}' if provider == "bloom" else b'{"data":[%b]}'
    (listed,) = page(provider, reply(200, body % row)).rows
    assert (listed.upstream_id, listed.prompt) == ("a", None)


@pytest.mark.parametrize("given", [" a", "a\n", "\ta \r\n"])
def test_white_space_around_an_id_is_no_part_of_it(given: str) -> None:
    assert text_of(given) == "a"


@pytest.mark.parametrize("given", ["a\nb", " ", "\n"])
def test_white_space_within_an_id_makes_it_none(given: str) -> None:
    with pytest.raises(UnreadableError):
        text_of(given)


def test_a_compressed_body_is_no_json_by_itself() -> None:
    """The transports undo the compression, declared or not: see `test_paid_post` and `test_api_get`."""
    with pytest.raises(UnreadableError):
        read_json(gzip.compress(b"{}"))


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"data":[1],"a":1,"data":[2]}', {"data": [1, 2], "a": 1}),
        (b'{"data":[1],"data":[1]}', {"data": [1]}),
        (b'{"data":{"ids":[1],"x":1,"m":[3]},"data":{"ids":[2]}}', {"data": {"ids": [1, 2], "m": [3]}}),
        (b'{"data":{"a":{"ids":[1]}},"data":{"a":{"ids":[2]},"id":"b"}}', {"data": {"a": {"ids": [1, 2]}, "id": "b"}}),
        (b'{"data":[1],"data":null}', {"data": None}),
        (b'{"id":"a","id":"b","cost":1,"cost":2}', {"id": "b", "cost": 2}),
        (b'[{"data":[1],"data":[2],"data":[3]}]', [{"data": [1, 2, 3]}]),
    ],
)
def test_lists_under_a_name_that_comes_twice_are_joined_and_of_other_values_the_last_one_counts(
    body: bytes, read: Any
) -> None:
    assert read_json(body) == read
    assert repetition(body) == "a name comes twice in it"
    with pytest.raises(UnreadableError):
        read_proof(body)


def test_a_name_that_comes_many_times_makes_an_answer_unreadable() -> None:
    with pytest.raises(UnreadableError, match="many times"):
        read_json(b"{" + b",".join([b'"a":[]'] * 200) + b"}")
    once = b'{"data":[{"a":1},{"a":1}],"a":{"a":{}}}'
    assert read_proof(once) == read_json(once)
    assert repetition(once) is None


def test_pictures_under_a_name_that_comes_twice_in_a_receipt_are_all_read() -> None:
    one, two = (json.dumps([{"url": f"{LINK}{number}"}]) for number in (1, 2))
    answer = submitted("getimg", reply(200, f'{{"id":"r","data":{one},"data":{two}}}'.encode()))
    assert [image.link for image in answer.images] == [f"{LINK}1", f"{LINK}2"]
    answer = submitted("bloom", reply(202, b'{"data":{"ids":["a"]},"data":{"ids":["b"]}}'))
    assert [image.upstream_id for image in answer.images] == ["a", "b"]


LISTINGS = {
    "bloom": b'{"data":{"images":[{"id":"a"}],"images":[{"id":"b"}],"hasMore":false}}',
    "posteverywhere": b'{"data":{"items":[{"id":"a"}],"items":[{"id":"b"}],"pagination":{"hasMore":false}}}',
    "banatie": b'{"data":[{"id":"a"}],"data":[{"id":"b"}],"pagination":{"hasMore":false}}',
}


@ASKED
def test_a_list_in_which_a_name_comes_twice_has_a_fault_and_shows_all_its_rows(provider: str) -> None:
    found = page(provider, reply(200, LISTINGS[provider]))
    assert [row.upstream_id for row in found.rows] == ["a", "b"]
    assert found.fault is not None
    body = LISTINGS[provider].replace(b"false", b'false,"hasMore":false')
    assert page(provider, reply(200, body)).fault is not None
    whole = json.dumps(json.loads(LISTINGS[provider])).encode()
    assert page(provider, reply(200, whole)).fault is None


@pytest.mark.parametrize(
    ("items", "media", "names"),
    [
        ("ab", "abc", "abc"),
        ("abc", "ab", "abc"),
        ("ab", "cb", "abc"),
        ("", "a", "a"),
        (None, "a", "a"),
        ("a", None, "a"),
    ],
)
def test_rows_that_a_list_shows_under_either_of_two_names_are_all_read(
    items: str | None, media: str | None, names: str
) -> None:
    shown = {"items": items, "media": media, "pagination": {"hasMore": False}}
    rows_of = {name: [{"media_id": one} for one in found] for name, found in shown.items() if isinstance(found, str)}
    rows = page("posteverywhere", reply(200, {"data": {**shown, **rows_of}})).rows
    assert "".join(sorted(str(row.upstream_id) for row in rows)) == names
