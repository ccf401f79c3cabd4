"""The HTTP API in a test's own process, and tokens for it."""

import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import uvicorn

from ops.bounded_http import BoundedHttp
from ops.hosts import is_known
from producer import Client
from producer.api import ApiDoors, create_app
from shared.db.tokens import TokenTerms
from shared.tokens import BACKEND, Scope

HARBOUR = {"provider": "bloom", "prompt": "a quiet harbour", "custom_id": "a", "batch": "shop"}


def link(key: str, seconds: int) -> str:
    return f"https://bucket.test/{key}?for={seconds}"


@contextmanager
def serving(client: Client, *, hosts: Collection[str] = (), **doors: Any) -> Iterator[httpx.Client]:
    """Serve the API on the client's database, reached as localhost."""
    app = create_app(ApiDoors(client, doors.pop("link", link), partial(is_known, names=hosts), **doors))
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", http=BoundedHttp, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://localhost:{listening.getsockname()[1]}", timeout=30) as http:
            yield http
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def bearer(
    client: Client,
    *scopes: Scope,
    caps: dict[str, Decimal] | None = None,
    prefix: str = "",
    name: str = "shop",
    posts: int = 1000,
) -> dict[str, str]:
    """Make a token and return the header that presents it; by default a backend's, without a cap."""
    terms = TokenTerms(name, frozenset(scopes or BACKEND), caps, prefix, posts)
    return {"Authorization": f"Bearer {client.create_token(terms)[1].get_secret_value()}"}
