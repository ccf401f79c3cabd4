"""Receipts of both wires: one odd field must not lose what was paid for."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.lifecycle import ImageState, Outcome
from tests.support.canned_wire import reply, submitted
from worker.providers.contract import Accepted
from worker.transport.paid_post import Lost


def test_a_picture_in_the_place_of_getimgs_link_is_kept_with_its_answer() -> None:
    """Nothing downloads a data URL: as a link it would end the image, and the picture lies in the answer alone."""
    told = submitted("getimg", reply(200, {"id": "r1", "data": [{"url": "data:image/png;base64,AAAA"}]}))
    assert (told.outcome, told.code, bool(told.body)) == (Outcome.UNKNOWN, "answer_unreadable", True)


@pytest.mark.parametrize("ids", [["a", "b", "c"], ["a"], ["a", "b"]])
def test_an_answer_of_bloom_may_name_its_pictures_in_both_lists(ids: list[str]) -> None:
    found = submitted("bloom", reply(202, {"data": {"ids": ids, "imageIds": ["b", "c"]}}))
    assert [image.upstream_id for image in found.images] == ["a", "b", "c"]
    assert found.charged_images == 3


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("name", ["ids", "imageIds"])
def test_bloom_gives_one_picture_for_each_id(status: int, name: str) -> None:
    accepted = submitted("bloom", reply(status, {"data": {name: ["a", "b"], "status": "pending"}}))
    assert isinstance(accepted, Accepted)
    assert [image.upstream_id for image in accepted.images] == ["a", "b"]
    assert (accepted.http_status, accepted.upstream_id) == (status, "a")


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (["a", "a", "b"], ["a", "b"]),
        (["a", None, {}, "", "b\x00", "c\ud800", "d"], ["a", "d"]),
        ([17, "b"], ["17", "b"]),
    ],
)
def test_bloom_ids_that_cannot_be_read_or_come_twice_do_not_lose_the_others(ids: Any, kept: list[str]) -> None:
    accepted = submitted("bloom", reply(202, {"data": {"ids": ids}}))
    assert [image.upstream_id for image in accepted.images] == kept


@pytest.mark.parametrize("ids", ["abc", {"a": 1}, [], [None], 7])
def test_bloom_ids_that_are_no_list_of_ids_are_unreadable(ids: Any) -> None:
    assert submitted("bloom", reply(202, {"data": {"ids": ids}})).code == "answer_unreadable"


def getimg_answer(**changes: Any) -> dict[str, Any]:
    item = {"url": "https://api.getimg.ai/v2/downloads/r/0?exp=1&sig=s", "mime_type": "image/png"}
    return {"id": "req-1", "status": "completed", "data": [item], "usage": {"total_cost": 0.04}, **changes}


def getimg_item(**changes: Any) -> Any:
    return submitted("getimg", reply(200, getimg_answer(data=[changes]))).images[0]


def test_getimg_gives_links_to_fetch_at_once() -> None:
    accepted = submitted("getimg", reply(200, getimg_answer()))
    assert (accepted.http_status, accepted.upstream_id, accepted.settled) == (200, "req-1", Decimal("0.04"))
    assert [(image.state, image.link) for image in accepted.images] == [
        (ImageState.READY, "https://api.getimg.ai/v2/downloads/r/0?exp=1&sig=s")
    ]


@pytest.mark.parametrize(
    ("usage", "settled"),
    [
        (b'{"total_cost": 0.1000000001}', Decimal("0.1000000001")),
        (b'{"total_cost": "0.040"}', Decimal("0.040")),
        (b'{"total_cost": 2}', Decimal(2)),
        (b'{"total_cost": 1e999999999}', None),
        (b'{"total_cost": 1e-999999999}', None),
        (b'{"total_cost": NaN}', None),
        (b'{"total_cost": -Infinity}', None),
        (b'{"total_cost": -1}', None),
        (b'{"total_cost": true}', None),
        (b'{"total_cost": {"usd": 1}}', None),
        (b'{"total_cost": null}', None),
        (b"{}", None),
        (b"[]", None),
        (b'"free"', None),
        (b"null", None),
    ],
)
def test_the_cost_is_exact_or_left_out_and_never_loses_the_link(usage: bytes, settled: Decimal | None) -> None:
    accepted = submitted("getimg", reply(200, b'{"data": [{"url": "https://x.example/a"}], "usage": %s}' % usage))
    assert (len(accepted.images), accepted.settled) == (1, settled)


@pytest.mark.parametrize("upstream_id", [None, "", {}, [], "a\x00"])
def test_an_odd_request_id_does_not_lose_the_link(upstream_id: Any) -> None:
    accepted = submitted("getimg", reply(200, getimg_answer(id=upstream_id)))
    assert (accepted.upstream_id, len(accepted.images)) == (None, 1)


def in_hours(hours: float) -> datetime:
    return (datetime.now(UTC) + timedelta(hours=hours)).replace(microsecond=0)


@pytest.mark.parametrize(
    ("deletes_at", "exp", "hours"),
    [
        (1, None, 1),
        (None, 2, 2),
        (3, 2, 2),
        (1, 2, 1),
        (-5, 2, 2),  # a wrong clock or zone
        (1, -5, 1),
        (-5, -5, None),
        (None, None, None),
    ],
)
def test_the_link_dies_at_the_first_credible_end(
    deletes_at: float | None, exp: float | None, hours: float | None
) -> None:
    ends = {hour: in_hours(hour) for hour in (deletes_at, exp, hours) if hour is not None}
    query = "" if exp is None else f"?exp={int(ends[exp].timestamp())}"
    item = {"url": f"https://x.example/a{query}"}
    if deletes_at is not None:
        item["deletes_at"] = ends[deletes_at].isoformat()
    assert getimg_item(**item).link_expires_at == (None if hours is None else ends[hours])


@pytest.mark.parametrize("odd", [7, "", "soon", [], "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+14:00", None])
@pytest.mark.parametrize("exp", ["", "?exp=", "?exp=x", "?exp=99999999999999999", "?exp=-1", "?exp=1e9"])
def test_an_unreadable_end_does_not_lose_the_link(odd: Any, exp: str) -> None:
    item = getimg_item(url=f"https://x.example/a{exp}", deletes_at=odd)
    assert (item.link, item.link_expires_at) == (f"https://x.example/a{exp}", None)


def test_a_picture_without_a_link_does_not_lose_the_others() -> None:
    data = [
        {"mime_type": "image/png"},
        {"url": None},
        "x",
        {"url": "http://["},
        {"url": "/v2/a"},
        {"url": "https://x/b"},
    ]
    accepted = submitted("getimg", reply(200, getimg_answer(data=data)))
    assert [image.link for image in accepted.images] == ["https://provider.example/v2/a", "https://x/b"]


def test_a_link_is_handed_on_character_by_character() -> None:
    signed = "https://x.example/a/../b;v=1?exp=1&sig=%2F%2f+=#frag"
    assert getimg_item(url=signed).link == signed


def test_a_receipt_whose_answer_broke_off_after_its_last_brace_still_counts() -> None:
    whole = json.dumps(getimg_answer()).encode()
    assert isinstance(submitted("getimg", Lost("cut", 200, whole)), Accepted)
    assert submitted("getimg", Lost("cut", 200, whole[:-1])).cost_is_open
    assert isinstance(submitted("bloom", Lost("cut", 202, b'{"data":{"ids":["a"]}}')), Accepted)
    assert isinstance(submitted("bloom", Lost("cut", 500, b'{"data":{"ids":["a"]}}')), Accepted)
    assert submitted("bloom", Lost("cut", 500, b'{"data":{"ids":["a"]}')).outcome is Outcome.UNKNOWN
