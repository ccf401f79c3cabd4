"""The dashboard in this process: its application on a test's database, and a browser's requests without a browser."""

import html
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event
from starlette.testclient import TestClient

from ops.dashboard.app import DashboardOptions, create_app
from ops.dashboard.proxies import TrustedProxies
from ops.dashboard.reading import Reads, Shared
from ops.dashboard.sessions import EVERYTHING, Person, Right, Sessions
from ops.stack import Endpoints
from shared.db.engine import Engine
from shared.settings import Settings
from worker.transport.storage import Storage

TOKEN = "a-token-that-signs-in"
OWN = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Browser:
    """A person's browser; `statements` are those that the last page ran."""

    client: TestClient
    statements: list[str] = field(default_factory=list)

    def get(self, path: str, **params: Any) -> Any:
        self.statements.clear()
        return self.client.get(path, params=params or None, follow_redirects=False)

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Any:
        return self.client.post(path, data=fields, headers=OWN if headers is None else headers, follow_redirects=False)

    def act(self, **wish: str) -> Any:
        """Propose an act, then say yes to it: what a person does who clicks through."""
        page = self.get("/act", **wish)
        assert page.status_code == 200, page.text
        form = re.search(r'<form method="post" action="[^"]*/act">.*?</form>', page.text, re.DOTALL)
        assert form, page.text
        hidden = re.findall(r'name="([a-z]+)" value="([^"]*)"', form[0])
        return self.post("/act", None, **{name: html.unescape(value) for name, value in hidden})

    def sign_in(self, token: str = TOKEN) -> Any:
        return self.post("/sign-in", token=token)


@contextmanager
def browsing(  # noqa: PLR0913 - what tests vary
    engine: Engine,
    directory: Path,
    *,
    rights: Iterable[Right] = EVERYTHING,
    storage: Storage | None = None,
    prefix: str = "",
    stripped: bool = True,
    settings: Settings | None = None,
    fresh_seconds: float = 0,
    proxies: TrustedProxies | None = None,
    judge: Callable[[str], Person | None] | None = None,
) -> Iterator[Browser]:
    """Yield a browser that is not signed in yet; `stripped`: the proxy removes the prefix."""
    person = Person("somebody", frozenset(rights))
    sessions = Sessions(judge or (lambda token: person if token == TOKEN else None))
    options = DashboardOptions(prefix=prefix, hosts={"testserver"}, label="TRIAL", settings=settings, proxies=proxies)
    app = create_app(Reads(engine, Shared(fresh_seconds)), sessions, storage, directory, options)
    root = "http://testserver" if stripped else f"http://testserver{prefix}"
    with TestClient(app, base_url=root, client=("192.0.2.7", 50_000)) as client:
        browser = Browser(client)

        def note(*arguments: Any) -> None:
            browser.statements.append(arguments[2])

        event.listen(engine, "before_cursor_execute", note)
        yield browser
        event.remove(engine, "before_cursor_execute", note)


@contextmanager
def signed_in(engine: Engine, directory: Path, **options: Any) -> Iterator[Browser]:
    """Yield a browser of somebody who is signed in."""
    with browsing(engine, directory, **options) as browser:
        assert browser.sign_in().status_code == 303
        yield browser


def storage_of(endpoints: Endpoints) -> Storage:
    """Return the bucket of a test's stack."""
    return Storage(
        bucket=endpoints.s3_bucket,
        endpoint_url=endpoints.s3_endpoint_url,
        region="us-east-1",
        access_key=endpoints.s3_access_key,
        secret_key=endpoints.s3_secret_key,
        connect_seconds=5,
        read_seconds=10,
        max_connections=4,
    )
