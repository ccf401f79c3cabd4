"""Callers that go while they send: nothing is done for them, and the log says nothing of a failure."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ops.dashboard.app import DashboardOptions
from ops.dashboard.app import create_app as create_dashboard
from ops.dashboard.reading import Reads, Shared
from ops.dashboard.sessions import EVERYTHING, Person, Sessions
from ops.hosts import is_known
from producer import Client
from producer.api import ApiDoors, create_app
from shared.db.engine import Engine
from shared.settings import load
from shared.tokens import Scope
from tests.support.api import bearer, link

JSON = "application/json"


def sent(app: Any, method: str, path: str, headers: dict[str, str]) -> list[Any]:
    """Begin a request whose caller goes in the middle of its body; return what was answered."""
    received: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b'{"a', "more_body": True}, {"type": "http.disconnect"}]
    )
    answered: list[Any] = []

    async def receive() -> dict[str, Any]:
        return next(received)

    async def send(message: Any) -> None:
        answered.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
             "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": raw,
             "client": ("127.0.0.1", 5000), "server": ("localhost", 80)}  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return answered


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/jobs", JSON),
        ("POST", "/v1/batches/b/rows", "text/csv"),
        ("POST", "/v1/batches/b:resolve", JSON),
        ("PATCH", "/v1/batches/b", JSON),
        ("POST", "/v1/webhooks", JSON),
        ("POST", "/v1/accounts/bloom:pause", JSON),
    ],
)
def test_a_caller_of_the_api_that_goes_leaves_no_error(alice: Client, method: str, path: str, kind: str) -> None:
    app = create_app(ApiDoors(alice, link, partial(is_known, names=())))
    headers = {"host": "localhost", "content-type": kind, **bearer(alice, Scope.ADMIN)}
    with capture_logs() as logs:
        assert sent(app, method, path, headers) == []
    assert [line for line in logs if line["log_level"] in {"warning", "error"}] == []
    assert alice.batches() == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/act", "application/x-www-form-urlencoded"),
        ("/new", "application/x-www-form-urlencoded"),
        ("/new", "text/csv"),
    ],
)
def test_a_browser_that_goes_leaves_no_error_and_no_file(
    engine: Engine, database_url: str, tmp_path: Path, path: str, kind: str
) -> None:
    sessions = Sessions(lambda _token: Person("somebody", EVERYTHING))
    options = DashboardOptions(hosts={"localhost"}, settings=load(database_url=database_url))
    app = create_dashboard(Reads(engine, Shared(0)), sessions, None, tmp_path, options)
    cookie = f"genqueue={sessions.sign_in('word')}"
    headers = {"host": "localhost", "content-type": kind, "cookie": cookie, "sec-fetch-site": "same-origin"}
    assert sent(app, "POST", path, headers)[0]["status"] == 400
    assert not any(file.is_file() for file in tmp_path.rglob("*"))
