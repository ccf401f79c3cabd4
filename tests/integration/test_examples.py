"""The examples for backends run as their pages say: curl, Node, FastAPI and Django."""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import anyio
import django
import django.conf
import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from pydantic import SecretStr

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.settings import Settings
from tests.support.api import serving
from tests.support.drain import drain, on_loop, settings_for
from tests.support.outcome import ended
from tests.support.receiver import Message, receiver
from worker import event_loop
from worker.runtime import Runtime
from worker.upkeep.webhooks import WebhookSender

EXAMPLES = Path(__file__).parents[2] / "client" / "examples"
KEY = SecretStr("k" * 32)


@pytest.fixture
def settings(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Settings:
    return settings_for(database_url, endpoints, simulated.url, webhook_key=KEY.get_secret_value())


@pytest.fixture
def url(client: Client, runtime: Runtime) -> Iterator[str]:
    """The API of a trial, with real links to the bucket."""
    with serving(client, open_to_all=True, link=runtime.storage.presign) as http:
        yield str(http.base_url)


@contextmanager
def working(client: Client, runtime: Runtime) -> Iterator[None]:
    """Run a worker until the batch `shop` is there and has ended."""

    def over() -> bool:
        return any(batch["name"] == "shop" for batch in client.batches()) and ended(client, "shop")()

    thread = threading.Thread(target=drain, args=(runtime, over))
    thread.start()
    try:
        yield
    finally:
        thread.join(60)


class FirstImage(NamedTuple):
    """An example that orders one image and reads it."""

    program: str
    name: str
    order: str

    def run(self, url: str, file: Path) -> subprocess.CompletedProcess[str]:
        """Run it as its page says."""
        found = shutil.which(self.program)
        assert found, f"{self.program} is not installed"
        command = [found, str(EXAMPLES / self.name), url, str(file)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


IN_ANY_LANGUAGE = pytest.mark.parametrize(
    "example",
    [FirstImage("sh", "first_image.sh", "order-1194-hero"), FirstImage("node", "first_image.mjs", "order-1195-hero")],
    ids=lambda example: example.program,
)


@IN_ANY_LANGUAGE
def test_the_first_image_is_ordered_waited_for_and_read(
    example: FirstImage, url: str, client: Client, runtime: Runtime, tmp_path: Path
) -> None:
    file = tmp_path / "harbour.png"
    with working(client, runtime):
        ran = example.run(url, file)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{example.order} is {file}\n"
    with Image.open(file) as image:
        assert image.format == "PNG"


@IN_ANY_LANGUAGE
def test_the_first_image_prints_a_refusal_and_does_not_ask_again(example: FirstImage, tmp_path: Path) -> None:
    with receiver() as api:
        api.says, api.answer = b'{"code": "custom_id_conflict"}', lambda _message: 422
        ran = example.run(api.url, tmp_path / "harbour.png")
        assert len(api.got) == 1
        assert example.order in api.got[0].body.decode()
    assert ran.returncode != 0
    assert "custom_id_conflict" in ran.stderr


@IN_ANY_LANGUAGE
def test_the_first_image_asks_again_after_a_429_and_a_failure_of_the_server(
    example: FirstImage, tmp_path: Path
) -> None:
    statuses = iter([429, 503, 422])
    with receiver() as api:
        api.says, api.answer = b'{"code": "custom_id_conflict"}', lambda _message: next(statuses)
        ran = example.run(api.url, tmp_path / "harbour.png")
        assert [example.order in message.body.decode() for message in api.got] == [True] * 3
    assert "custom_id_conflict" in ran.stderr


Ask = Callable[[str, bytes, dict[str, str]], int]
"""Posts to a path of a service; returns the status."""


def tell(runtime: Runtime, until: Callable[[], bool]) -> None:
    """Send webhooks until `until()`."""

    async def work() -> None:
        sender = WebhookSender(runtime, KEY)
        try:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    while not until():
                        await sender.look(group)
                        await anyio.sleep(0.02)
        finally:
            await sender.close()

    on_loop(runtime, work)


def order_and_hear(ask: Ask, pictures: dict[int, str], client: Client, runtime: Runtime) -> None:
    """Order an image twice, and pass what the webhook brings on to the service."""
    with receiver() as hooks:
        hooks.answer = lambda message: ask("/hooks/genqueue", message.body, message.headers)
        os.environ["GENQUEUE_WEBHOOK_SECRET"] = client.add_webhook(hooks.url, types=["job.*"]).secret.get_secret_value()
        for _ in range(2):
            assert ask("/orders/7?prompt=a+harbour", b"prompt=a+harbour", FORM) == 200
        assert ask("/orders/7?prompt=a+tram", b"prompt=a+tram", FORM) == 409  # another image for the same order
        drain(runtime, ended(client, "shop"))
        tell(runtime, lambda: pictures.get(7) == "succeeded")
        forged = Message("/", {**hooks.got[0].headers, "webhook-signature": "v1,AAAA"}, hooks.got[0].body)
        assert ask("/hooks/genqueue", forged.body, forged.headers) == 400
    assert client.totals("shop") == {"succeeded": 1}


FORM = {"content-type": "application/x-www-form-urlencoded"}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_shop_in_fastapi_orders_once_and_hears_of_the_end(
    url: str, client: Client, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENQUEUE_URL", url)
    monkeypatch.setenv("GENQUEUE_WEBHOOK_SECRET", "")
    module = load("fastapi_shop")
    app: FastAPI = module.app

    def ask(path: str, body: bytes, headers: dict[str, str]) -> int:
        async def post() -> int:
            transport = httpx.ASGITransport(app)
            async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as http:
                return (await http.post(f"http://shop{path}", content=body, headers=headers)).status_code

        return event_loop.run(post)

    order_and_hear(ask, module.pictures, client, runtime)


def test_a_shop_in_django_orders_once_and_hears_of_the_end(
    url: str, client: Client, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENQUEUE_URL", url)
    monkeypatch.setenv("GENQUEUE_WEBHOOK_SECRET", "")
    if not django.conf.settings.configured:
        django.conf.settings.configure(USE_TZ=True)
        django.setup()
    monkeypatch.setattr(django.conf.settings, "ROOT_URLCONF", "django_shop", raising=False)
    monkeypatch.setattr(django.conf.settings, "ALLOWED_HOSTS", ["*"], raising=False)
    module = load("django_shop")
    from django.test import Client as Browser  # noqa: PLC0415 - once Django is set up

    browser = Browser()

    def ask(path: str, body: bytes, headers: dict[str, str]) -> int:
        given: dict[str, Any] = {name: value for name, value in headers.items() if name != "host"}
        kind = given.pop("content-type")
        return int(browser.post(path, body, content_type=kind, headers=given).status_code)

    order_and_hear(ask, module.pictures, client, runtime)
    module.genqueue().close()
