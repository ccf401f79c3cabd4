"""The dashboard as an ASGI application: its parts put together, and its routes."""

from collections.abc import Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ops.dashboard import acting, charts, choosing, downloads, live, new_batch, pages, pictures, signing_in, words
from ops.dashboard.drafts import Drafts
from ops.dashboard.guard import Guard
from ops.dashboard.page import Dashboard, problem
from ops.dashboard.proxies import TrustedProxies
from ops.dashboard.reading import Reads
from ops.dashboard.sessions import Sessions
from ops.dashboard.sweeping import swept
from ops.dashboard.thumbnails import Thumbnails
from shared.db.engine import DatabaseUnavailableError
from shared.db.lost_calls import candidates
from shared.settings import Settings
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageError

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardOptions:
    """How the pages are shown. `hosts` are the names under which a browser may ask for them.

    `prefix` is the path before every page, such as `/ops/genqueue`, or "". `label` says whether money can be spent.
    `secure` marks the cookie for https alone.
    """

    prefix: str = ""
    hosts: Iterable[str] = ()
    label: str = ""
    cookie: str = "genqueue"
    secure: bool = False
    proxies: TrustedProxies | None = None
    """Those that may name the person; None: everybody needs a token."""
    settings: Settings | None = None
    """The settings with which people act; None: the pages only read."""


def create_app(
    reads: Reads, sessions: Sessions, storage: Storage | None, files: Path, options: DashboardOptions
) -> ASGIApp:
    """Return the application. `files` is the directory of its thumbnails and drafts; `storage` None: no pictures."""
    dashboard = Dashboard(
        reads=reads,
        sessions=sessions,
        storage=storage,
        thumbnails=Thumbnails(files / "thumbnails", storage),
        templates=_templates(),
        settings=options.settings,
        proxies=options.proxies,
        drafts=Drafts(files / "drafts"),
        prefix=options.prefix,
        label=options.label,
        cookie=options.cookie,
        secure=options.secure,
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> Any:
        async with swept(dashboard.thumbnails, reads):
            yield
        dashboard.thumbnails.decoder.close()
        dashboard.drafts.close()

    app = Starlette(
        routes=_routes(),
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _refused,
            DatabaseUnavailableError: _unavailable,
            StorageError: _no_bucket,
            ClientDisconnect: _gone,
        },
    )
    app.state.dashboard = dashboard
    app.state.feed = live.feed_of(lambda: dashboard)
    return Guard(app, prefix=options.prefix, hosts=options.hosts)


def _routes() -> list[Route | Mount]:
    return [
        Route("/", pages.now),
        Route("/batches", pages.batches),
        Route("/batch", pages.batch),
        Route("/batch.csv", downloads.results_csv),
        Route("/batch.zip", downloads.pictures_zip),
        Route("/accounts", pages.accounts),
        Route("/webhooks", pages.webhooks),
        Route("/failures", pages.failures),
        Route("/job/{job}", pages.job),
        Route("/find", pages.find),
        Route("/held", pages.held),
        Route("/money", pages.money),
        Route("/money.csv", pages.money_csv),
        Route("/act", acting.propose, methods=["GET"]),
        Route("/act", acting.carry_out, methods=["POST"]),
        Route("/new", new_batch.form, methods=["GET"]),
        Route("/new", new_batch.receive, methods=["POST"]),
        Route("/new/{draft}", new_batch.plan, methods=["GET"]),
        Route("/new/{draft}", new_batch.send, methods=["POST"]),
        Route("/live", live.stream),
        Route("/thumbnail/{job}/{name}", pictures.thumbnail),
        Route("/preview/{name}", choosing.preview),
        Route("/original/{job}/{name}", pictures.original),
        Route("/sign-in", signing_in.form, methods=["GET"]),
        Route("/sign-in", signing_in.sign_in, methods=["POST"]),
        Route("/sign-out", signing_in.sign_out, methods=["POST"]),
        Mount("/static", StaticFiles(directory=_HERE / "static"), name="static"),
    ]


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=words.visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= words.FILTERS
    environment.globals |= {
        "chart": charts,
        "STATES": words.STATES,
        "SERVERS": words.SERVERS,
        "preview_name": candidates.preview_name,
        "MOST_TRIES": candidates.MOST_TRIES,
    }
    return environment


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(request, error.status_code, str(error.detail))


def _unavailable(request: Request, error: Exception) -> Response:
    return problem(request, 503, str(error))


def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # to nobody: the browser went while it sent


def _no_bucket(request: Request, error: Exception) -> Response:
    return problem(request, 502, str(error))
