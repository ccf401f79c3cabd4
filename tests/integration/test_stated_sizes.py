"""A picture that is far smaller than its provider states is no result: a placeholder, or a preview."""

import hashlib
import io
from typing import Any

import pytest
from PIL import Image

from ops.stack import Endpoints
from shared.db.engine import Engine
from shared.lifecycle import ImageState, Stage
from tests.integration.test_collected_free import LOOKS, SUBMITS, receipt
from tests.integration.test_costs import working
from tests.integration.test_poll import pending, polled
from tests.support import rows
from tests.support.drain import BRAND, drain, run_stage
from tests.support.http_stub import provider
from tests.support.outcome import ended, ends, only
from tests.support.shelf import serving_shelf
from worker.claiming import Parcel
from worker.providers.contract import UpstreamImage
from worker.runtime import Runtime

STATED = {"width": 256, "height": 128}


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 80).save(file, "PNG")
    return file.getvalue()


def answered(name: str, link: str) -> tuple[str, Any]:
    """The route that shows the finished picture, with its size, and what it answers."""
    if name == "getimg":
        return "POST /v2/images/generations", {"id": "r", "data": [{"url": link, **STATED}]}
    if name == "bloom":
        return LOOKS[name], {"data": {"id": "i0", "status": "completed", "imageUrl": link, **STATED}}
    if name == "banatie":
        made = {"id": "i0", "status": "success", "outputImage": {"storageUrl": link, **STATED}}
        return LOOKS[name], {"success": True, "data": made}
    return LOOKS[name], {"data": {"media_id": "i0", "status": "ready", "url": link, **STATED}}


@pytest.mark.parametrize("name", ["bloom", "getimg", "posteverywhere", "banatie"])
def test_a_placeholder_is_kept_and_the_picture_that_follows_it_stored(
    name: str, database_url: str, endpoints: Endpoints
) -> None:
    extra: dict[str, Any] = {"bloom": {"brand_session_id": BRAND}, "getimg": {"prices": {"seedream-5-lite": "0.035"}}}
    model = {"getimg": {"model": "seedream-5-lite"}, "posteverywhere": {"model": "flux-schnell"}}
    whole = png(256, 128)
    with serving_shelf() as shelf, provider({"GET /credits": {"data": {"balance": 100}}}) as stub:
        stub.routes |= {SUBMITS.get(name, ""): receipt(name, "i0")}
        route, said = answered(name, shelf.put(png(1, 1), png(63, 31), whole))
        stub.routes[route] = said
        with working(stub, name, database_url, endpoints, **extra.get(name, {})) as (client, runtime):
            order = {"provider": name, "prompt": "x", "custom_id": "a", **model.get(name, {})}
            client.enqueue([order], batch="b")
            drain(runtime, ended(client))
            assert ends(client) == {"a": ("succeeded", None)}
            (row,) = client.results("b")
            assert row["sha256"] == hashlib.sha256(whole).hexdigest()


def test_a_picture_that_stays_far_too_small_is_kept_with_its_reason(database_url: str, endpoints: Endpoints) -> None:
    with serving_shelf() as shelf, provider({}) as stub:
        link = shelf.put(png(1, 1))
        route, said = answered("getimg", link)
        stub.routes[route] = said
        prices = {"prices": {"seedream-5-lite": "0.035"}}
        with working(stub, "getimg", database_url, endpoints, **prices) as (client, runtime):
            client.enqueue(
                [{"provider": "getimg", "model": "seedream-5-lite", "prompt": "x", "custom_id": "a"}], batch="b"
            )
            drain(runtime, ended(client))
            assert ends(client) == {"a": ("failed", "result_unverified")}
            assert "1 x 1 pixels, where its provider states 256 x 128" in only(client)["job"]["error"]
            assert shelf.fetches(link) == runtime.settings.fetch_page_tries
            (kept,) = client.unverified(batch="b")
            assert kept.key.endswith(".png")
            assert client.accept([kept]).succeeded == 1


@pytest.mark.parametrize("size", [(64, 32), (256, 20), (20, 128), (300, 150)])
def test_a_size_that_is_rounded_scaled_or_cropped_is_taken(
    runtime: Runtime, engine: Engine, size: tuple[int, int]
) -> None:
    (one,) = pending(engine)
    with serving_shelf() as shelf:
        link = shelf.put(png(*size))
        polled(runtime, engine, {one: UpstreamImage(ImageState.READY, one, link=link, stated=(256, 128))})
        assert rows.states(engine) == {"succeeded": 1}


def test_a_new_link_brings_its_own_size(runtime: Runtime, engine: Engine) -> None:
    (one,) = pending(engine)
    with serving_shelf() as shelf:
        link = shelf.put(png(10, 10))
        polled(runtime, engine, {one: UpstreamImage(ImageState.READY, one, link=link, stated=(4000, 4000))})
        assert rows.states(engine) == {"transferring": 1}
        rows.rows(engine, "UPDATE job SET state = 'pending', due_at = now(), claimed_by = NULL")
        rows.rows(engine, "UPDATE image SET state = 'pending'")
        polled(runtime, engine, {one: UpstreamImage(ImageState.READY, one, link=link)})
        run_stage(runtime, Parcel(Stage.TRANSFER, "bloom", tuple(rows.claim(engine, "transfer"))))
        assert rows.states(engine) == {"succeeded": 1}
