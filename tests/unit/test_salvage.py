"""What can be seen of paid pictures in a success that cannot be read, at a provider that cannot be asked again."""

import json
from typing import Any

import pytest

from shared.lifecycle import ImageState, Outcome
from tests.support.canned_wire import BASE, reply, wire
from worker import event_loop
from worker.providers.contract import UNSURE_LINK, Accepted, PaidCall, Refused
from worker.providers.salvage import closed, links_in
from worker.transport.paid_post import Lost

LINK = "https://cdn.example/v2/a.png?exp=4102444800&sig=%2F+x"
OTHER = "https://cdn.example/v2/b.png?sig=1"
SENT = "https://mine.example/reference.png"
ITEM = {"url": LINK, "mime_type": "image/png"}


def submitted(answer: Any) -> Accepted | Refused:
    sent = {"prompt": "a harbour", "images": [{"url": SENT, "role": "reference"}]}
    asked = wire("getimg", answer)
    found: Accepted | Refused = event_loop.run(asked.submit, PaidCall(sent, 0))
    return found


@pytest.mark.parametrize("data", [ITEM, [LINK], [ITEM, 7, None], [[ITEM], ITEM]])
def test_the_documented_place_is_read_in_any_shape(data: Any) -> None:
    found = submitted(reply(200, {"id": "r", "data": data, "usage": {"total_cost": 0.035}}))
    assert isinstance(found, Accepted)
    assert [(image.link, image.error_code) for image in found.images] == [(LINK, None)]
    assert not found.cost_is_open


WHOLE = json.dumps({"id": "r", "data": [ITEM, {"url": OTHER}], "usage": {"total_cost": 0.035}}).encode()


@pytest.mark.parametrize("end", range(WHOLE.index(b"}") + 1, len(WHOLE)))
@pytest.mark.parametrize("ended", [True, False], ids=["whole by HTTP", "broken off"])
def test_the_pictures_before_the_place_where_an_answer_broke_off_are_bought(
    end: int,
    ended: bool,  # noqa: FBT001 - whether the answer came to its end by HTTP
) -> None:
    body = WHOLE[:end]
    found = submitted(reply(200, body) if ended else Lost("cut", 200, body))
    assert isinstance(found, Accepted)
    links = [image.link for image in found.images]
    assert links == [LINK, OTHER][: 1 + (b'sig=1"}' in body)]
    assert {image.error_code for image in found.images} == {None}
    assert (found.cost_is_open, found.body) == (True, body)


PLACES: list[dict[str, Any]] = [
    {"images": [ITEM]},
    {"output": {"files": [{"href": LINK}]}},
    {"result": LINK},
    {"data": {"files": [ITEM]}},
    {"data": [[LINK]]},
    {"data": [], "also": [SENT, ITEM]},
    {"data": None, "link": LINK},
]


@pytest.mark.parametrize("place", PLACES, ids=json.dumps)
def test_a_link_that_stands_elsewhere_is_seen_and_not_trusted(place: dict[str, Any]) -> None:
    body = {"id": "r", "status": "completed", **place, "usage": {"total_cost": 0.035}}
    found = submitted(reply(200, body))
    assert isinstance(found, Accepted)
    (image,) = found.images
    assert (image.state, image.link, image.error_code) == (ImageState.READY, LINK, UNSURE_LINK)
    assert image.link_expires_at is not None
    assert (found.cost_is_open, found.settled, found.body) == (True, None, json.dumps(body).encode())


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, {"images": [{"url": SENT}]}),  # our own reference
        reply(200, f'<html><a href="{LINK}">maintenance</a></html>'.encode()),
        reply(200, {"error": {"code": "X", "message": "no"}, "help": LINK}),
        reply(200, {"success": False, "help": LINK}),
        reply(200, {"code": "X", "message": "no", "help": LINK}),
        reply(200, {"message": f"see {LINK} for more"}),
        reply(200, f'{{"data": [{{"url": "{LINK}'.encode()),  # it may go on
        reply(500, {"images": [ITEM]}),
        reply(200, b""),
        Lost("gone"),
    ],
)
def test_what_is_no_sight_of_a_paid_picture_stays_in_doubt(answer: Any) -> None:
    found = submitted(answer)
    assert isinstance(found, Refused)
    assert found.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("provider", ["bloom", "banatie", "posteverywhere"])
def test_a_provider_that_can_be_asked_is_asked(provider: str) -> None:
    found = event_loop.run(wire(provider, reply(200, {"images": [ITEM]})).submit, PaidCall({}, 0))
    assert isinstance(found, Refused)


@pytest.mark.parametrize("body", [b"", b"}", b"[" * 50, b'{"a":' * 50, b"}" * 100_000])
def test_nothing_whole_is_nothing(body: bytes) -> None:
    assert links_in(body, sent=None, base_url=BASE) == ()
    with pytest.raises(Exception, match="nothing whole"):
        closed(body)


def test_links_are_bounded_each_is_one_and_what_is_called_a_url_comes_first() -> None:
    many = {"docs": OTHER, "items": [{"url": f"https://cdn.example/{n % 30}"} for n in range(60)]}
    links = links_in(json.dumps(many).encode(), sent=None, base_url=BASE)
    assert (len(links), links[0]) == (10, "https://cdn.example/0")
    escaped = json.dumps({"url": LINK}).replace("/", "\\/").encode()
    assert links_in(escaped, sent=None, base_url=BASE) == (LINK,)
