"""Receipts and polls of PostEverywhere and Banatie: one odd field neither loses what is paid for nor its neighbours."""

from decimal import Decimal
from typing import Any

import pytest

from shared.errors import CODES
from shared.lifecycle import ImageState
from tests.support.canned_wire import polled, reply, submitted, verdict
from worker.providers.contract import Accepted, Refused, RetryRule
from worker.transport.paid_post import Lost, PaidReply

MEDIA = pytest.mark.parametrize("provider", ["posteverywhere", "banatie"])
LINK = "https://cdn.example/a.png"


def media(**changes: Any) -> dict[str, Any]:
    return {"media_id": "a", "status": "ready", "url": LINK, "created_at": "2027-01-01T00:00:00Z", **changes}


def generation(**changes: Any) -> dict[str, Any]:
    return {"id": "a", "status": "success", "outputImage": {"storageUrl": LINK}, **changes}


def one(provider: str, data: Any, **settings: Any) -> Any:
    return polled(reply(200, {"data": data}), "a", provider=provider, **settings)


def page(provider: str, *rows: Any) -> PaidReply:
    return reply(200, {"data": {"items": list(rows)} if provider == "posteverywhere" else list(rows)})


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        ({"media_id": "a"}, ["a"]),
        ({"media_id": "a", "media_ids": ["a"]}, ["a"]),
        ({"media_ids": ["a", "b", "a"]}, ["a", "b"]),
        ({"media_id": "a", "media_ids": []}, ["a"]),
        ({"media_id": "a", "media_ids": [None, {}, ""]}, ["a"]),
        ({"media_id": "a", "media_ids": "a"}, ["a"]),
        ({"media_id": None, "media_ids": [None, "b"]}, ["b"]),
        ({"media_id": 7}, ["7"]),
    ],
)
def test_only_a_media_id_is_needed(data: Any, ids: list[str]) -> None:
    accepted = submitted("posteverywhere", reply(201, {"data": data, "error": None}))
    assert [image.upstream_id for image in accepted.images] == ids
    assert (accepted.upstream_id, accepted.settled, accepted.remaining) == (ids[0], None, None)


@pytest.mark.parametrize(
    ("listed", "ids", "left_out"),
    [
        (["old"], ["new", "old"], 0),
        (["old", "new"], ["new", "old"], 0),
        (["old", None, "older", "old"], ["new", "old", "older"], 2),
        ([f"old-{number}" for number in range(200)], ["new", *(f"old-{number}" for number in range(99))], 101),
    ],
)
def test_the_media_id_comes_before_whatever_media_ids_list(listed: Any, ids: list[str], left_out: int) -> None:
    accepted = submitted("posteverywhere", reply(201, {"data": {"media_id": "new", "media_ids": listed}}))
    assert [image.upstream_id for image in accepted.images] == ids
    assert (accepted.upstream_id, accepted.left_out) == ("new", left_out)


@pytest.mark.parametrize(
    ("used", "settled"),
    [
        (15, Decimal(15)),
        ("15", Decimal(15)),
        (1.5, Decimal("1.5")),
        (-1, None),
        (True, None),
        ([], None),
        (10**12, Decimal(10**12)),
        (10**15, None),
        (10**16, None),
    ],
)
def test_odd_credits_do_not_lose_the_media_id(used: Any, settled: Decimal | None) -> None:
    data = {"media_id": "a", "credits_used": used, "credits_remaining": used}
    accepted = submitted("posteverywhere", reply(201, {"data": data}))
    assert (accepted.upstream_id, accepted.settled) == ("a", settled)


@MEDIA
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b"{}", b'{"data":null}', b'{"data":[]}', b'{"data":{}}', b'{"data":"a"}']
)
def test_a_success_that_cannot_be_read_may_have_been_bought(provider: str, body: bytes) -> None:
    assert submitted(provider, reply(201, body)).code == "answer_unreadable"


@MEDIA
def test_a_receipt_whose_answer_broke_off_after_its_last_brace_still_counts(provider: str) -> None:
    body = b'{"data": {"media_id": "a", "id": "a", "status": "pending"}}'
    assert isinstance(submitted(provider, Lost("cut", 201, body)), Accepted)
    assert submitted(provider, Lost("cut", 201, body[:-1])).code == "answer_unreadable"


@pytest.mark.parametrize(
    ("changes", "state", "code"),
    [
        ({}, ImageState.READY, None),
        ({"status": "success", "outputImage": None}, ImageState.PROCESSING, None),
        ({"outputImage": {"storageUrl": "http://["}}, ImageState.PROCESSING, None),
        ({"outputImage": {"storageUrl": "reply:00000000-0000-0000-0000-000000000000/0"}}, ImageState.PROCESSING, None),
        ({"status": "pending"}, ImageState.PENDING, None),
        ({"status": "a word from the future"}, ImageState.READY, None),
        ({"status": "a word from the future", "outputImage": None}, ImageState.PROCESSING, None),
        ({"status": "SUCCESS"}, ImageState.READY, None),
        ({"status": None}, ImageState.PROCESSING, None),
        ({"status": {}}, ImageState.PROCESSING, None),
        ({"status": "failed"}, ImageState.FAILED, "generation_failed"),
        ({"status": "failed", "errorMessage": {}}, ImageState.FAILED, "generation_failed"),
        (
            {"status": "failed", "errorMessage": "BLOCKED by Safety"},
            ImageState.FAILED,
            "content_refused_after_purchase",
        ),
        (
            {"status": "failed", "errorMessage": "no image\x00\ud800" + "x" * 999},
            ImageState.FAILED,
            "generation_failed",
        ),
    ],
)
def test_an_answer_in_any_state_is_a_receipt_and_a_poll_reads_the_same(
    changes: Any, state: ImageState, code: str | None
) -> None:
    (bought,) = submitted("banatie", reply(201, {"data": generation(**changes)})).images
    (asked,) = one("banatie", generation(**changes)).values()
    for image in (bought, asked):
        assert (image.upstream_id, image.state, image.error_code) == ("a", state, code)
        assert image.error_code is None or image.error_code in CODES
        assert image.error is None or (len(image.error) <= 300 and image.error.isprintable())


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("Content blocked by the safety filter of the model", True),
        ("finishReason: PROHIBITED_CONTENT", True),
        ("IMAGE_SAFETY", True),
        ("The prompt was rejected", True),
        ("violates the content policy", True),
        ("Server under moderate load, will retry", False),
        ("blocked waiting for a GPU", False),
        ("bucket policy denied the upload", False),
    ],
)
def test_no_free_text_ends_a_generation_at_the_first_look(text: str, *, refused: bool) -> None:
    (image,) = one("banatie", generation(status="failed", errorMessage=text)).values()
    assert image.error_code == ("content_refused_after_purchase" if refused else "generation_failed")
    assert not image.sure


@pytest.mark.parametrize("name", ["status", "media_status"])
@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("ready", ImageState.READY),
        ("processing", ImageState.PROCESSING),
        ("failed", ImageState.FAILED),
        ("a word from the future", ImageState.READY),
        ("READY", ImageState.READY),
        ("Failed", ImageState.FAILED),
        ({}, ImageState.READY),  # no word at all: the link says it
    ],
)
def test_the_state_of_media_stands_in_either_field(name: str, word: Any, state: ImageState) -> None:
    (image,) = one("posteverywhere", {"media_id": "a", "url": LINK, name: word}).values()
    assert image.state is state


@pytest.mark.parametrize("word", ["processing", "Upscaling", "in progress", "QUEUED", "preview", "error", "blocked"])
@pytest.mark.parametrize("provider", ["bloom", "posteverywhere", "banatie"])
def test_a_link_beside_a_word_that_sounds_unfinished_or_failed_is_not_believed(provider: str, word: str) -> None:
    (image,) = one(provider, said(provider, word, LINK)).values()
    assert (image.state, image.link) == (ImageState.PROCESSING, None)


@pytest.mark.parametrize("word", ["finished", "a word from the future"])
@pytest.mark.parametrize("provider", ["bloom", "posteverywhere", "banatie"])
def test_a_row_whose_state_says_nothing_here_is_asked_about_by_itself(provider: str, word: str) -> None:
    rows = [said(provider, word, None), said(provider, word, None)]
    answer = reply(200, {"data": {"images": rows}}) if provider == "bloom" else page(provider, *rows)
    assert polled(answer, "a", "b", provider=provider) == {}
    (image,) = one(provider, said(provider, word, None)).values()
    assert (image.state, image.unknown_word) == (ImageState.PROCESSING, word)


@pytest.mark.parametrize("word", ["Upscaling", "in progress", "retry"])
@pytest.mark.parametrize("provider", ["bloom", "posteverywhere", "banatie"])
def test_a_row_whose_state_sounds_unfinished_costs_no_request_of_its_own(provider: str, word: str) -> None:
    row = said(provider, word, None)
    answer = reply(200, {"data": {"images": [row]}}) if provider == "bloom" else page(provider, row)
    (image,) = polled(answer, "a", "b", provider=provider).values()
    assert (image.state, image.unknown_word) == (ImageState.PROCESSING, word)


def said(provider: str, word: str, link: str | None) -> dict[str, Any]:
    made: dict[str, dict[str, Any]] = {
        "bloom": {"id": "a", "imageUrl": link},
        "posteverywhere": {"media_id": "a", "url": link},
        "banatie": {"id": "a", "outputImage": {"storageUrl": link}},
    }
    return {**made[provider], "status": word}


@pytest.mark.parametrize("url", [None, "", 7, "http://[", {}, "reply:00000000-0000-0000-0000-000000000000/0"])
@pytest.mark.parametrize(
    ("without_url", "state", "code"),
    [("fail", ImageState.FAILED, "result_not_downloadable"), ("succeed", ImageState.UPSTREAM_ONLY, None)],
)
def test_ready_without_a_link_is_as_the_setting_says_and_never_the_thumbnail(
    url: Any, without_url: str, state: ImageState, code: str | None
) -> None:
    data = media(url=url, thumbnail_url="https://cdn.example/small.png")
    (image,) = one("posteverywhere", data, media_without_url=without_url).values()
    assert (image.state, image.error_code, image.link) == (state, code, None)
    listed = polled(page("posteverywhere", data), "a", "b", provider="posteverywhere", media_without_url=without_url)
    assert listed == {}  # a list may leave the link out: asked for by itself


@MEDIA
@pytest.mark.parametrize("odd", [None, 7, "text", [], {}, {"status": "ready"}, {"id": []}, {"media_id": {}}])
def test_a_row_that_cannot_be_read_is_left_out_of_its_page(provider: str, odd: Any) -> None:
    rows = [media(), generation()]
    both = [{**rows[0], **rows[1], "status": "processing", "id": name, "media_id": name} for name in ("a", "b")]
    assert set(polled(page(provider, both[0], odd, both[1]), "a", "x", "b", provider=provider)) == {"a", "b"}


@pytest.mark.parametrize("name", ["items", "media"])
def test_the_rows_of_media_stand_under_either_name(name: str) -> None:
    listed = reply(200, {"data": {name: [media()]}})
    assert polled(listed, "a", "b", provider="posteverywhere")["a"].link == LINK


@pytest.mark.parametrize(
    ("provider", "state"),
    [("posteverywhere", "failed"), ("posteverywhere", "ready"), ("banatie", "failed"), ("banatie", "success")],
)
def test_a_list_ends_no_picture_without_a_link(provider: str, state: str) -> None:
    rows = [{"id": "a", "media_id": "a", "status": state}]
    assert polled(page(provider, *rows), "a", "b", provider=provider) == {}


@MEDIA
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"{}", b'{"data":7}', b'{"data":{"items":{}}}'])
def test_a_page_that_cannot_be_read_is_asked_for_again(provider: str, body: bytes) -> None:
    refused = polled(reply(200, body), "a", "b", provider=provider)
    assert isinstance(refused, Refused)
    assert refused.again is RetryRule.AFTER


@MEDIA
@pytest.mark.parametrize("data", [None, 7, "text", [], True])
def test_a_picture_that_is_no_object_is_asked_for_again(provider: str, data: Any) -> None:
    found = one(provider, data)
    assert found.again is RetryRule.AFTER if isinstance(found, Refused) else found["a"].state is ImageState.PROCESSING


@pytest.mark.parametrize(("provider", "code"), [("posteverywhere", "not_found"), ("banatie", "GENERATION_NOT_FOUND")])
def test_the_documented_404_of_its_own_get_says_that_a_picture_is_gone(provider: str, code: str) -> None:
    gone = polled(reply(404, {"error": {"code": code, "message": "gone"}}), "a", provider=provider)["a"]
    assert (gone.state, gone.error_code) == (ImageState.FAILED, "upstream_gone")


def test_openrouter_cannot_be_asked_again() -> None:
    code = verdict(polled(None, "a", provider="openrouter"))[2]
    assert code == "result_expired"
