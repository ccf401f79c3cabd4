"""Pictures and links of the simulator: real files, the same every time, and dead when they say so."""

import base64
import hashlib
import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import httpx
import pytest
from PIL import Image

from ops.simulator import BloomSettings, GetimgSettings, PostEverywhereSettings, Simulator

Submission = Callable[..., dict[str, Any]]

_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")


def generate(web: httpx.Client, sim: Simulator, prompt: str, **extra: str) -> dict[str, Any]:
    reply = web.post(
        f"{sim.getimg_url}/v2/images/generations",
        json={"model": "sim-photo", "prompt": prompt, **extra},
        headers={"authorization": "Bearer sim-a"},
    )
    return reply.json()["data"][0]


def bloom_image(web: httpx.Client, sim: Simulator, body: dict[str, Any]) -> str:
    headers = {"x-api-key": "sim-a"}
    reply = web.post(f"{sim.bloom_url}/images/generations", json=body, headers=headers)
    image_id = reply.json()["data"]["ids"][0]
    web.get(f"{sim.bloom_url}/images/{image_id}?wait=true", headers=headers)
    return image_id


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("ratio", _RATIOS)
def test_a_picture_decodes_in_the_asked_format_and_proportions(
    shared_sim: Simulator, web: httpx.Client, ratio: str, image_format: str
) -> None:
    item = generate(web, shared_sim, f"{ratio} {image_format}", aspect_ratio=ratio, output_format=image_format)
    with Image.open(io.BytesIO(web.get(item["url"]).content)) as picture:
        picture.load()
        across, down = map(int, ratio.split(":"))
        assert picture.format == image_format.upper()
        assert Fraction(*picture.size) == Fraction(across, down)
        assert picture.size == (item["width"], item["height"])


def test_the_same_seed_and_prompt_draw_the_same_bytes(start: Any, submission: Submission, web: httpx.Client) -> None:
    def drawn(sim: Simulator, **extra: Any) -> tuple[str, bytes]:
        image_id = bloom_image(web, sim, submission("deterministic", **extra))
        return image_id, web.get(f"{sim.url}/bloom/img/{image_id}", follow_redirects=True).content

    first, again, other = start(seed=5), start(seed=5), start(seed=6)
    assert drawn(first) == drawn(again)
    assert drawn(first)[1] != drawn(other)[1]
    assert drawn(first)[1] != drawn(first, aspectRatio="16:9")[1]


def test_the_control_api_knows_the_hash_of_the_bytes_served(shared_sim: Simulator, web: httpx.Client) -> None:
    item = generate(web, shared_sim, "hash")
    content = web.get(item["url"]).content
    newest = web.get(f"{shared_sim.url}/_sim/images", params={"provider": "getimg"}).json()["images"][-1]
    told = web.get(f"{shared_sim.url}/_sim/images/{newest['id']}").json()
    assert (told["sha256"], told["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (told["prompt"], told["width"], told["content_type"], told["downloads"]) == (
        "hash",
        96,
        "image/jpeg",
        1,
    )
    assert web.get(f"{shared_sim.url}/_sim/images/nope").status_code == 404


def test_a_corrupt_picture_is_cut_off_and_an_html_one_is_no_picture(shared_sim: Simulator, web: httpx.Client) -> None:
    cut = web.get(generate(web, shared_sim, "[sim:corrupt]")["url"])
    page = web.get(generate(web, shared_sim, "[sim:html]")["url"])
    assert cut.content.startswith(b"\xff\xd8\xff")
    with pytest.raises(OSError, match="truncated"), Image.open(io.BytesIO(cut.content)) as picture:
        picture.load()
    assert page.content.startswith(b"<!doctype html>")
    assert page.headers["content-type"] == "image/jpeg"


def delivered(web: httpx.Client, sim: Simulator, provider: str, prompt: str) -> httpx.Response | bytes:
    """Generate at a provider whose images do not die and fetch the first one."""
    key = {"authorization": "Bearer sim-a", "x-api-key": "sim-a"}
    body = {"prompt": prompt}
    if provider == "openrouter":
        reply = web.post(f"{sim.openrouter_url}/images", json={"model": "sim/photo", **body}, headers=key)
        return base64.b64decode(reply.json()["data"][0]["b64_json"])
    if provider == "posteverywhere":
        made = web.post(f"{sim.posteverywhere_url}/ai/generate-image", json=body, headers=key).json()["data"]
        path, field = f"{sim.posteverywhere_url}/media/{made['media_id']}", "url"
    else:
        made = web.post(f"{sim.banatie_url}/api/v1/generations", json=body, headers=key).json()["data"]
        path, field = f"{sim.banatie_url}/api/v1/generations/{made['id']}", "outputImage"
    while (found := web.get(path, headers=key).json()["data"][field]) is None:
        continue
    return web.get(found if isinstance(found, str) else found["storageUrl"], headers=key)


@pytest.mark.parametrize("provider", ["openrouter", "posteverywhere", "banatie"])
def test_a_picture_can_be_damaged_wherever_it_comes_from(start: Any, web: httpx.Client, provider: str) -> None:
    settings = PostEverywhereSettings(url="permanent", requests_per_minute=None, requests_per_hour=None)
    sim = start(posteverywhere=settings)
    whole, cut, page = (delivered(web, sim, provider, prompt) for prompt in ("p", "[sim:corrupt]", "[sim:html]"))
    contents = [item if isinstance(item, bytes) else item.content for item in (whole, cut, page)]
    with Image.open(io.BytesIO(contents[0])) as picture:
        picture.load()
    with pytest.raises(OSError, match="truncated"), Image.open(io.BytesIO(contents[1])) as picture:
        picture.load()
    assert contents[2].startswith(b"<!doctype html>")
    leaks = sim.counters()["credentials_on_result_urls"]
    assert leaks == (0 if provider == "openrouter" else 3)  # each download above sent a key that it did not need


@pytest.mark.parametrize("provider", ["bloom", "getimg"])
def test_a_link_is_refused_when_tampered_with(
    shared_sim: Simulator, web: httpx.Client, submission: Submission, provider: str
) -> None:
    url = _signed_link(shared_sim, web, submission, provider)
    later = url.replace("exp=1", "exp=2")
    assert web.get(url).status_code == 200
    assert [web.get(bad).status_code for bad in (later, url[:-1] + "g", url.partition("?")[0])] == [403] * 3


@pytest.mark.parametrize("provider", ["bloom", "getimg"])
def test_a_link_dies_at_its_expiry(start: Any, web: httpx.Client, submission: Submission, provider: str) -> None:
    sim = start(
        bloom=BloomSettings(link_seconds=0.0001, requests_per_minute=None),
        getimg=GetimgSettings(link_seconds=0.0001, expired_status=410),
    )
    url = _signed_link(sim, web, submission, provider)
    reply = web.get(url)
    while reply.status_code == 200:  # the expiry has a grain of one second
        reply = web.get(url)
    assert reply.status_code == (403 if provider == "bloom" else 410)
    assert ("<Error>" in reply.text) == (provider == "bloom")


def test_an_expired_mark_makes_the_link_dead_on_arrival(
    shared_sim: Simulator, web: httpx.Client, submission: Submission
) -> None:
    item = generate(web, shared_sim, "[sim:expired]")
    short = f"{shared_sim.url}/bloom/img/{bloom_image(web, shared_sim, submission('[sim:expired]'))}"
    assert web.get(item["url"]).status_code == 403
    assert web.get(short, follow_redirects=True).status_code == 403


def test_a_key_sent_to_a_result_link_is_noted(start: Any, web: httpx.Client) -> None:
    sim = start()
    url = generate(web, sim, "leak")["url"]
    web.get(url)
    web.get(url, headers={"authorization": "Bearer sim-a"})
    web.get(url, headers={"x-api-key": "sim-a"})
    flags = [row["credential_on_result_url"] for row in sim.requests(route="download")]
    assert flags == [False, True, True]
    assert sim.counters()["credentials_on_result_urls"] == 2


def _signed_link(sim: Simulator, web: httpx.Client, submission: Submission, provider: str) -> str:
    if provider == "getimg":
        return str(generate(web, sim, "signed")["url"])
    short = f"{sim.url}/bloom/img/{bloom_image(web, sim, submission('signed'))}"
    return str(web.get(short).headers["location"])
