"""Polls of Bloom: one odd picture must not keep the others from being found, nor lose one that is paid for."""

import json
from typing import Any

import pytest

from shared.errors import CODES
from shared.lifecycle import ImageState, Outcome
from tests.support.canned_wire import page as listed
from tests.support.canned_wire import polled, reply, verdict, wire
from worker import event_loop
from worker.providers.contract import Refused, RetryRule, Used
from worker.transport.paid_post import Lost, PaidReply

LINK = "https://cdn.example/a"


def bloom_image(upstream_id: str = "a", status: Any = "completed", **changes: Any) -> dict[str, Any]:
    return {"id": upstream_id, "status": status, "imageUrl": "https://trybloom.ai/img/a", **changes}


def page(*images: Any) -> PaidReply:
    return reply(200, {"data": {"images": list(images), "hasMore": False}})


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("pending", ImageState.PENDING),
        ("generating", ImageState.PROCESSING),
        ("completed", ImageState.READY),
        ("failed", ImageState.FAILED),
        (" COMPLETED ", ImageState.READY),
        (None, ImageState.PROCESSING),
        ({}, ImageState.PROCESSING),
        ([], ImageState.PROCESSING),
    ],
)
def test_a_status_is_known_in_any_case_and_what_is_no_word_is_work_in_progress(status: Any, state: ImageState) -> None:
    assert polled(page(bloom_image("a", status), bloom_image("b", status)), "a", "b")["a"].state is state
    assert polled(reply(200, {"data": bloom_image("a", status)}), "a")["a"].state is state


SHOWN: dict[str, dict[str, Any]] = {
    "bloom": {"id": "a", "imageUrl": LINK, "width": 8, "height": 6},
    "posteverywhere": {"media_id": "a", "url": LINK, "width": 8, "height": 6},
    "banatie": {"id": "a", "outputImage": {"storageUrl": LINK, "width": 8, "height": 6}},
}
ASKED = pytest.mark.parametrize("provider", list(SHOWN))


UUID = "550e8400-e29b-41d4-a716-446655440000"


@ASKED
@pytest.mark.parametrize("form", [UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}"])
def test_an_id_in_another_form_of_a_uuid_is_the_same_id(provider: str, form: str) -> None:
    name = "media_id" if provider == "posteverywhere" else "id"

    def read(given: str, asked: str) -> Any:
        return polled(reply(200, {"data": {**SHOWN[provider], name: given}}), asked, provider=provider)

    assert read(form, UUID)[UUID].link == read(UUID, form)[form].link == LINK
    assert isinstance(read(UUID[:-1] + "1", form), Refused)


@pytest.mark.parametrize("provider", ["banatie", "posteverywhere"])
@pytest.mark.parametrize("status", [{}, {"status": None}, {"status": 7}, {"status": ["done"]}, {"status": ""}])
def test_a_row_without_a_link_whose_state_is_no_word_settles_nothing(status: dict[str, Any], provider: str) -> None:
    """The picture's own answer has the link that the list leaves out."""
    rows = [{"id": name, **status} for name in "ab"]
    listed = {"banatie": rows, "posteverywhere": {"items": rows}}[provider]
    assert polled(reply(200, {"data": listed}), "a", "b", provider=provider) == {}


def test_a_row_of_blooms_list_whose_state_is_no_word_settles_nothing() -> None:
    assert polled(page(bloom_image("a", 7, imageUrl=None), bloom_image("b", None, imageUrl=None)), "a", "b") == {}


@ASKED
def test_a_link_where_no_state_is_named_is_the_end(provider: str) -> None:
    found = polled(reply(200, {"data": SHOWN[provider]}), "a", provider=provider)["a"]
    assert (found.state, found.link) == (ImageState.READY, LINK)


@ASKED
@pytest.mark.parametrize("status", ["processing", "rendering", 7, ["done"], {"state": "done"}])
def test_a_link_beside_a_state_that_is_no_end_is_kept_for_the_last_bound(status: Any, provider: str) -> None:
    found = polled(reply(200, {"data": {**SHOWN[provider], "status": status}}), "a", provider=provider)["a"]
    assert (found.state, found.link) == (ImageState.PROCESSING, None)
    assert (found.early_link, found.stated) == (LINK, (8, 6))


@ASKED
@pytest.mark.parametrize("status", [201, 202, 203, 206])
def test_any_success_that_shows_the_picture_is_an_answer(status: int, provider: str) -> None:
    found = polled(reply(status, {"data": {**SHOWN[provider], "status": "processing"}}), "a", provider=provider)
    assert found["a"].state is ImageState.PROCESSING
    assert isinstance(polled(reply(status, {"data": {}}), "a", provider=provider), Refused)


@ASKED
@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("state", ["shown", "processing"])
def test_whole_json_that_shows_the_picture_is_an_answer_although_it_broke_off(
    state: str, status: int, provider: str
) -> None:
    row = SHOWN[provider] if state == "shown" else {**SHOWN[provider], "status": "processing"}
    body = json.dumps({"data": row}).encode()
    whole = polled(reply(status, body), "a", provider=provider)
    assert polled(Lost("cut", status, body), "a", provider=provider) == whole != {}
    assert isinstance(polled(Lost("cut", status, body[:-1]), "a", provider=provider), Refused)


@ASKED
@pytest.mark.parametrize("status", [404, 500])
def test_an_error_that_broke_off_says_nothing_of_the_picture(status: int, provider: str) -> None:
    body = json.dumps({"error": {"code": "NOT_FOUND", "message": "no"}, "data": SHOWN[provider]}).encode()
    assert isinstance(polled(Lost("cut", status, body), "a", provider=provider), Refused)


@ASKED
def test_a_list_that_is_to_prove_an_absence_must_have_come_to_its_end(provider: str) -> None:
    data = {"bloom": {"images": [], "hasMore": False}, "posteverywhere": {"items": []}, "banatie": []}[provider]
    body = json.dumps({"success": True, "data": data, "pagination": {"hasMore": False, "total": 0}}).encode()
    assert not isinstance(listed(provider, reply(200, body)), Refused)
    assert isinstance(listed(provider, Lost("cut", 200, body)), Refused)


def test_a_figure_that_is_to_prove_an_absence_must_have_come_to_its_end() -> None:
    body = b'{"data": {"usage": 1, "byok_usage": 0}}'
    assert isinstance(event_loop.run(wire("openrouter", reply(200, body)).used), Used)
    assert isinstance(event_loop.run(wire("openrouter", Lost("cut", 200, body)).used), Refused)


@ASKED
def test_a_list_that_is_to_prove_an_absence_needs_the_documented_status(provider: str) -> None:
    data = {"bloom": {"images": [], "hasMore": False}, "posteverywhere": {"items": []}, "banatie": []}[provider]
    for status in (202, 206):
        assert isinstance(listed(provider, reply(status, {"data": data})), Refused)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("content_safety", "content_refused_after_purchase"),
        ("rate_limited", "generation_failed"),
        (None, "generation_failed"),
        ({}, "generation_failed"),
        ("new", "generation_failed"),
    ],
)
def test_a_failure_says_why(reason: Any, code: str) -> None:
    found = polled(reply(200, {"data": bloom_image("a", "failed", failureReason=reason)}), "a")["a"]
    assert (found.state, found.error_code) == (ImageState.FAILED, code)
    assert found.error_code in CODES


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://www.trybloom.ai/img/a", "https://www.trybloom.ai/img/a"),
        ("/img/a", "https://provider.example/img/a"),
        ("//cdn.example/a", "https://cdn.example/a"),
    ],
)
def test_a_relative_link_is_joined_to_the_providers_own_address(link: str, expected: str) -> None:
    assert polled(page(bloom_image("a", imageUrl=link), bloom_image("b")), "a", "b")["a"].link == expected


@pytest.mark.parametrize("link", [None, ""])
def test_a_completed_picture_without_a_link_is_asked_for_again(link: Any) -> None:
    assert polled(reply(200, {"data": bloom_image("a", imageUrl=link)}), "a")["a"].state is ImageState.PROCESSING


@pytest.mark.parametrize(
    "odd", [None, 7, "text", [], {}, {"status": "completed"}, {"id": "x"}, bloom_image("x", imageUrl=[1])]
)
def test_a_picture_that_cannot_be_read_is_left_out_of_its_page(odd: Any) -> None:
    assert set(polled(page(bloom_image("a"), odd, bloom_image("b")), "a", "x", "b")) == {"a", "b"}


def test_pictures_missing_from_a_page_are_left_out() -> None:
    assert set(polled(page(bloom_image("b")), "a", "b")) == {"b"}


@pytest.mark.parametrize("provider", ["bloom", "posteverywhere", "banatie"])
def test_rows_of_one_id_that_differ_prove_nothing(provider: str) -> None:
    """Such a picture is left out of its page, and so asked about by itself."""
    made = {"imageUrl": LINK, "url": LINK, "outputImage": {"storageUrl": LINK}}
    word = {"bloom": "completed", "posteverywhere": "ready", "banatie": "success"}[provider]
    rows = [{"id": name, "status": word, **made} for name in ("a", "b", "A", "b")]
    rows[2] |= {"status": "failed", "failureReason": "content_safety"}
    data = {"bloom": {"images": rows}, "posteverywhere": {"items": rows}, "banatie": rows}[provider]
    found = polled(reply(200, {"data": data}), "a", "b", provider=provider)
    assert {name: image.link for name, image in found.items()} == {"b": LINK}


@pytest.mark.parametrize("nested", [True, False])
def test_only_the_documented_404_of_its_own_get_says_that_a_picture_is_gone(*, nested: bool) -> None:
    error = {"code": "IMAGE_NOT_FOUND", "message": "no such image"}
    gone = polled(reply(404, {"error": error} if nested else error), "a")
    assert (gone["a"].state, gone["a"].error_code) == (ImageState.FAILED, "upstream_gone")


@pytest.mark.parametrize("body", [b"<html>404</html>", b"", {"code": "NOT_FOUND"}, {"error": {"code": "OTHER"}}])
def test_any_other_404_neither_loses_the_picture_nor_stops_the_account(body: Any) -> None:
    for ids in (["a"], ["a", "b"]):
        refused = polled(reply(404, body), *ids)
        assert isinstance(refused, Refused)
        assert refused.again is RetryRule.AFTER


def test_a_page_that_is_refused_for_one_of_its_ids_has_each_asked_by_itself() -> None:
    assert polled(reply(400, {"code": "BAD_REQUEST"}), "a", "not a uuid") == {}
    assert polled(reply(400, {"code": "BAD_REQUEST"}), "not a uuid").code == "provider_rejected"


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"{}", b'{"data":[]}', b'{"data":{"images":{}}}'])
def test_a_page_that_cannot_be_read_is_asked_for_again(body: bytes) -> None:
    assert polled(reply(200, body), "a", "b").again is RetryRule.AFTER


def test_getimg_cannot_be_asked_again() -> None:
    refused = event_loop.run(wire("getimg", None).poll, ["a"])
    assert verdict(refused) == (Outcome.REJECTED, RetryRule.NEVER, "result_expired")


@ASKED
def test_a_picture_is_read_wherever_the_answer_that_names_it_puts_it(provider: str) -> None:
    row, other = SHOWN[provider], {**SHOWN[provider], "id": "b", "media_id": "b"}
    for body in (
        row,
        {"data": [row]},
        {"data": [other, row]},
        {"data": {"image": row}},
        {"data": {"generation": row}},
        {"data": {"media": row}},
        {"data": {"images": [other, row]}},
        {"data": {"items": [row]}},
        {"images": [row]},
        {"result": {"data": row}},
        {"id": "a", "status": "failed", "data": row},
    ):
        found = polled(reply(200, body), "a", provider=provider)["a"]
        assert (found.state, found.link) == (ImageState.READY, LINK), body


@ASKED
def test_a_picture_elsewhere_that_is_another_or_has_no_id_is_not_read(provider: str) -> None:
    row = {name: value for name, value in SHOWN[provider].items() if name not in {"id", "media_id"}}
    for found in (row, {**row, "id": "b", "media_id": "b"}):
        for body in (found, {"data": [found]}, {"data": {"image": found}}, {"images": [found]}):
            told = polled(reply(200, body), "a", provider=provider)
            assert isinstance(told, Refused) or told["a"].link is None, body


@ASKED
def test_a_link_beside_a_failure_that_is_not_sure_is_kept(provider: str) -> None:
    found = polled(reply(200, {"data": {**SHOWN[provider], "status": "failed"}}), "a", provider=provider)["a"]
    assert (found.state, found.sure, found.link, found.early_link) == (ImageState.FAILED, False, None, LINK)


def test_a_refusal_of_a_safety_check_has_no_link() -> None:
    row = {**SHOWN["bloom"], "status": "failed", "failureReason": "content_safety"}
    found = polled(reply(200, {"data": row}), "a")["a"]
    assert (found.state, found.sure, found.early_link) == (ImageState.FAILED, True, None)
