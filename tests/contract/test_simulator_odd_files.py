"""Looks and downloads that mislead: a 404 of what exists, a link that comes late, a file that is not the picture."""

import base64
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from PIL import Image

from ops.simulator import Simulator, SimulatorConfig
from tests.contract.simulated_lists import LISTING, Shop

Open = Callable[[str], Shop]

_EVERY = pytest.mark.parametrize("provider", LISTING)
_KEY = {"authorization": "Bearer sim-a", "x-api-key": "sim-a"}
_ABSENT = {"bloom": "IMAGE_NOT_FOUND", "posteverywhere": "not_found", "banatie": "GENERATION_NOT_FOUND"}
_UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def _faulty(base_config: SimulatorConfig) -> Iterator[Simulator]:
    quick = replace(
        base_config,
        bloom=replace(base_config.bloom, latency=(0, 0)),
        banatie=replace(base_config.banatie, latency=(0, 0)),
        posteverywhere=replace(base_config.posteverywhere, latency=(0, 0), processing_seconds=(0, 0), url="permanent"),
    )
    with Simulator(quick).serve() as running:
        yield running


@pytest.fixture
def sim(_faulty: Simulator) -> Simulator:
    """A simulator without a past and without faults yet, whose pictures are ready at once."""
    _faulty.put_faults({})
    _faulty.reset()
    return _faulty


@pytest.fixture
def shop(sim: Simulator, web: httpx.Client) -> Open:
    """Open a provider of the simulator."""
    return lambda provider: Shop(sim, web, provider)


def strike(sim: Simulator, route: str, fault: Any, **line: Any) -> None:
    match = {"route": route, **line.pop("match", {})}
    sim.put_faults([{"match": match, "fault": fault, "times": None, **line}])


def link(web: httpx.Client, sim: Simulator, provider: str, prompt: str = "file") -> str:
    """Buy a picture and return its link."""
    if provider == "getimg":
        body = {"model": "sim-photo", "prompt": prompt}
        reply = web.post(f"{sim.getimg_url}/v2/images/generations", json=body, headers=_KEY)
        return str(reply.json()["data"][0]["url"])
    at = Shop(sim, web, provider)
    row = at.row(at.buy(prompt))
    return str(row.get("imageUrl") or row.get("url") or row["outputImage"]["storageUrl"])


def fetch(web: httpx.Client, url: str) -> httpx.Response:
    return web.get(url, follow_redirects=True)


@_EVERY
def test_a_look_at_what_exists_can_be_the_providers_own_404(shop: Open, sim: Simulator, provider: str) -> None:
    at = shop(provider)
    bought = at.buy()
    unknown = at.get(_UNKNOWN)
    strike(sim, "poll", "gone_404")
    denied = at.get(bought)
    assert (denied.status_code, _ABSENT[provider] in denied.text) == (404, True)
    assert {**denied.json(), "meta": None} == {**unknown.json(), "meta": None}
    sim.put_faults({})
    assert at.get(bought).status_code == 200


@_EVERY
def test_a_404_can_be_about_one_purchase_alone(shop: Open, sim: Simulator, provider: str) -> None:
    at = shop(provider)
    cat, dog = at.buy("a cat"), at.buy("a dog")
    strike(sim, "poll", "gone_404", match={"prompt_contains": "cat"})
    assert (at.get(cat).status_code, at.get(dog).status_code) == (404, 200)


def test_bloom_leaves_what_it_denies_out_of_its_answer_about_many_ids(shop: Open, sim: Simulator) -> None:
    at = shop("bloom")
    cat, dog = at.buy("a cat"), at.buy("a dog")
    strike(sim, "poll", "gone_404", match={"prompt_contains": "cat"})
    assert at.listed(ids=f"{cat},{dog}") == [dog]
    strike(sim, "poll", "gone_404")
    assert at.listed(ids=f"{cat},{dog}") == []


def test_openrouters_generation_can_be_denied(sim: Simulator, web: httpx.Client) -> None:
    body = {"model": "sim/photo", "prompt": "p"}
    bought = web.post(f"{sim.openrouter_url}/images", json=body, headers=_KEY).headers["x-generation-id"]
    strike(sim, "generation", "gone_404")
    reply = web.get(f"{sim.openrouter_url}/generation", params={"id": bought}, headers=_KEY)
    assert (reply.status_code, reply.json()["error"]["message"]) == (404, "Generation not found")


@pytest.mark.parametrize("provider", ["bloom", "getimg", "posteverywhere", "banatie"])
def test_a_download_of_what_exists_can_be_a_404(sim: Simulator, web: httpx.Client, provider: str) -> None:
    url = link(web, sim, provider)
    strike(sim, "download", "gone_404")
    assert fetch(web, url).status_code == 404
    sim.put_faults({})
    assert fetch(web, url).status_code == 200


def test_a_short_link_can_be_denied_before_it_redirects(sim: Simulator, web: httpx.Client) -> None:
    url = link(web, sim, "bloom")
    strike(sim, "redirect", "gone_404")
    assert web.get(url).json()["code"] == "NOT_FOUND"


@pytest.mark.parametrize("kind", ["refuse_503", "error_5xx", "429"])
@pytest.mark.parametrize("moment", [999_999_999, "Fri, 31 Dec 9999 23:59:59 GMT", "soon"])
@pytest.mark.parametrize("route", ["download", "redirect", "poll", "list"])
def test_every_route_can_say_when_to_come_back(
    shop: Open, sim: Simulator, *, kind: str, moment: float | str, route: str
) -> None:
    at = shop("bloom")
    bought = at.buy()
    url = link(at.web, sim, "bloom")
    strike(sim, route, {"kind": kind, "retry_after": moment})
    reply = {"poll": lambda: at.get(bought), "list": at.page}.get(route, lambda: fetch(at.web, url))()
    assert reply.status_code == {"refuse_503": 503, "error_5xx": 500, "429": 429}[kind]
    assert reply.headers["retry-after"] == str(moment)


def test_a_link_can_come_later_than_the_word_that_it_is_ready(shop: Open) -> None:
    at = shop("posteverywhere")
    at.set(processing_seconds=[500, 500], url_lag_seconds=0.4)
    bought, began = at.buy(), time.monotonic()
    first = at.row(bought)
    assert (first["status"], first["url"]) == ("ready", None)
    while (url := at.row(bought)["url"]) is None:
        assert time.monotonic() - began < 5
    assert time.monotonic() - began > 0.2
    assert fetch(at.web, url).status_code == 200


@pytest.mark.parametrize("provider", ["bloom", "getimg", "posteverywhere", "banatie"])
def test_bytes_can_follow_the_end_of_a_picture(sim: Simulator, web: httpx.Client, provider: str) -> None:
    url = link(web, sim, provider)
    plain = fetch(web, url).content
    strike(sim, "download", {"kind": "trailing_bytes", "bytes": 100})
    assert fetch(web, url).content == plain + (b"trailing " * 12)[:100]


def test_more_bytes_can_be_promised_than_come(sim: Simulator, web: httpx.Client) -> None:
    url = link(web, sim, "getimg")
    plain = web.get(url)
    sim.put_faults([{"match": {"route": "download"}, "fault": {"kind": "content_length_lies", "bytes": 5}}])
    with web.stream("GET", url) as reply:
        came = io.BytesIO()
        assert int(reply.headers["content-length"]) == len(plain.content) + 5
        with pytest.raises(httpx.RemoteProtocolError):
            came.writelines(reply.iter_raw())
    assert came.getvalue() == plain.content
    assert web.get(url).content == plain.content


@pytest.mark.parametrize("provider", ["bloom", "getimg", "posteverywhere", "banatie"])
@pytest.mark.parametrize(
    ("form", "content_type", "kind"),
    [
        ("svg", "image/svg+xml", None),
        ("avif", "image/avif", "AVIF"),
        ("bmp", "image/bmp", "BMP"),
        ("tiff", "image/tiff", "TIFF"),
        ("html", "text/html", None),
        ("text", "text/plain", None),
    ],
)
def test_a_download_can_be_another_kind_of_file(
    sim: Simulator, web: httpx.Client, *, provider: str, form: str, content_type: str, kind: str | None
) -> None:
    url = link(web, sim, provider)
    strike(sim, "download", {"kind": "mime", "format": form})
    reply = fetch(web, url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, content_type)
    if kind:
        with Image.open(io.BytesIO(reply.content)) as image:
            assert (image.format, max(image.size)) == (kind, 96)
    assert (b"<svg" in reply.content) == (form == "svg")


@pytest.mark.parametrize(
    ("fault", "start", "end"),
    [
        ({"kind": "mime", "format": "bmp"}, b"BM", b""),
        ({"kind": "trailing_bytes", "bytes": 9}, b"\x89PNG", b"trailing "),
    ],
)
def test_openrouters_pictures_inside_the_answer_can_be_as_odd(
    sim: Simulator, web: httpx.Client, fault: Any, start: bytes, end: bytes
) -> None:
    strike(sim, "submit", fault)
    body = {"model": "sim/photo", "prompt": "p"}
    item = web.post(f"{sim.openrouter_url}/images", json=body, headers=_KEY).json()["data"][0]
    content = base64.b64decode(item["b64_json"])
    assert (content.startswith(start), content.endswith(end)) == (True, True)
