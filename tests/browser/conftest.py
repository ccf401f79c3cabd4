"""A real Chromium on a real dashboard: uvicorn in a thread of this process, on a test's own database."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from ops.dashboard.app import DashboardOptions, create_app
from ops.dashboard.reading import Reads
from ops.dashboard.sessions import EVERYTHING, Person, Right, Sessions
from ops.stack import Endpoints
from shared.db.engine import Engine, open_engine
from shared.settings import Settings
from tests.support.browsing import storage_of
from tests.support.drain import drain
from tests.support.waiting import until
from worker.runtime import Runtime

TOKEN: Final = "a-token-that-signs-in"
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_HARMLESS: Final = "Password forms should have"
_CUT_ON_A_PHONE: Final = (
    "innerWidth > 640 ? [] : [...document.querySelectorAll('.scroll')].filter((one) => !one.closest('details')"
    " && one.scrollWidth > one.clientWidth).map((one) => one.ariaLabel)"
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "no Chromium on PATH: install the package `chromium` (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []  # Chromium refuses to sandbox itself as root
        browser = playwright.chromium.launch(executable_path=found, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    opened = open_engine(settings.database_url, application="tests", pool_size=6)
    yield opened
    opened.dispose()


@dataclass
class Viewer:
    """One person's browser window, and what its console complained about."""

    page: Page
    root: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.root + path, wait_until="load")

    def sign_in(self, token: str = TOKEN) -> None:
        self.go("/sign-in")
        self.page.fill("#token", token)
        self.page.click("main button")
        self.page.wait_for_selector("nav")

    def faults(self) -> list[str]:
        """Everything wrong with the page as it is: for axe, for a narrow screen, and for the console."""
        found = [
            f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in Axe().run(self.page).response["violations"]
        ]
        if self.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append("the page is wider than the window")
        cut = self.page.evaluate(_CUT_ON_A_PHONE)
        found += [f"on a phone, a part of the rows is hidden: {label}" for label in cut]
        return found + self.complaints


@dataclass
class Served:
    """A dashboard that listens, and how to look at it."""

    url: str
    prefix: str
    chromium: Browser
    contexts: list[BrowserContext] = field(default_factory=list)

    def viewer(self, width: int = 1440, theme: Any = "light", **options: Any) -> Viewer:
        context = self.chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **options)
        self.contexts.append(context)
        viewer = Viewer(context.new_page(), f"{self.url}{self.prefix}")

        def complain(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"} and _HARMLESS not in message.text:
                viewer.complaints.append(message.text)

        viewer.page.on("console", complain)
        viewer.page.on("pageerror", lambda error: viewer.complaints.append(str(error)))
        viewer.page.on("dialog", lambda dialog: viewer.complaints.append(f"dialog: {dialog.message}"))
        return viewer


@contextmanager
def working(runtime: Runtime, done: Callable[[], bool]) -> Iterator[None]:
    """Have a worker at work meanwhile, until `done()`. In a thread, because Playwright's loop runs in this one."""
    work = threading.Thread(target=drain, args=(runtime, done), kwargs={"seconds": 120})
    work.start()
    try:
        yield
    finally:
        work.join()


Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture
def serve(chromium: Browser, engine: Engine, settings: Settings, endpoints: Endpoints, tmp_path: Path) -> Serve:
    @contextmanager
    def start(*, prefix: str = "", tokens: dict[str, frozenset[Right]] | None = None) -> Iterator[Served]:
        rights = {TOKEN: EVERYTHING, **(tokens or {})}
        sessions = Sessions(lambda token: Person(token, rights[token]) if token in rights else None)
        options = DashboardOptions(prefix=prefix, hosts={"127.0.0.1"}, label="TRIAL", settings=settings)
        app = create_app(Reads(engine), sessions, storage_of(endpoints), tmp_path / "thumbnails", options)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            thread = threading.Thread(target=server.run, args=([sock],))
            thread.start()
            until(lambda: server.started)
            served = Served(f"http://127.0.0.1:{sock.getsockname()[1]}", prefix, chromium)
            try:
                yield served
            finally:
                for context in served.contexts:
                    context.close()
                server.should_exit = True
                thread.join()

    return start
