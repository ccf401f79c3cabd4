"""`genqueue dashboard`: pages that show what runs, what waits for a person, what it costs, and the pictures."""

import re
import secrets
import socket
from typing import Annotated, Final

import typer
import uvicorn
from starlette.types import ASGIApp

from ops.bounded_http import BoundedHttp
from ops.cli.download import bucket
from ops.cli.join import joined
from ops.dashboard.app import DashboardOptions, create_app
from ops.dashboard.guard import LOOPBACK
from ops.dashboard.judging import judge
from ops.dashboard.proxies import ProxyError, TrustedProxies
from ops.dashboard.reading import Reads
from ops.dashboard.sessions import Sessions
from producer.cli.session import ExitCode, errors, fail, told
from shared import log
from shared.db import schema
from shared.db.engine import open_engine
from shared.settings import Settings
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageError

PORT: Final = 5600
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_SILENCE_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 3
_POOL: Final = 4


def dashboard(
    port: Annotated[int, typer.Option(min=0, max=65535, help="port of its pages; 0 = a free one")] = PORT,
    address: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    host: Annotated[
        list[str] | None, typer.Option(help="a further name under which browsers ask; may be repeated")
    ] = None,
    prefix: Annotated[str, typer.Option(help="path before every page, such as /ops/genqueue")] = "",
    secure: Annotated[bool, typer.Option("--secure", help="a proxy shows the pages by https alone")] = False,
) -> None:
    """Show pages of what runs, what waits for a person, what it costs, and the pictures.

    The pages are closed: they ask for a token. GENQUEUE_DASHBOARD_TOKEN has
    every right; without it, one is made and printed at each start. A token of
    `genqueue token create` has the rights of its scopes.

    Example: genqueue dashboard --port 5600
    """
    prefix = prefix.rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        fail("--prefix must be a path such as /ops/genqueue", ExitCode.WRONG_INPUT)
    with told(), joined() as settings:
        log.configure(settings.log_level, settings.log_format)
        proxies = _proxies(settings)
        sock = _listen(address, port)
        port = sock.getsockname()[1]
        options = DashboardOptions(
            prefix=prefix,
            hosts={*LOOPBACK, address, *settings.dashboard_hosts, *(host or ())},
            label="TRIAL" if settings.trial else "REAL",
            cookie=f"genqueue-{port}",
            secure=secure,
            settings=settings,
            proxies=proxies,
        )
        _serve(settings, options, sock, f"http://{_written(address)}:{port}{prefix}/")


def _serve(settings: Settings, options: DashboardOptions, sock: socket.socket, url: str) -> None:
    token = settings.dashboard_token.get_secret_value() or secrets.token_urlsafe(18)
    engine = open_engine(
        settings.database_url, application="genqueue dashboard", pool_size=_POOL, schema=settings.database_schema
    )
    sessions = Sessions(judge(engine, token))
    try:
        schema.check(engine)
        app = create_app(Reads(engine), sessions, _bucket(), settings.home.absolute(), options)
        errors().print(url)
        if not settings.dashboard_token.get_secret_value():
            errors().print(f"sign-in token: {token}")
        uvicorn.Server(served(app)).run([sock])
    finally:
        engine.dispose()


def served(app: ASGIApp) -> uvicorn.Config:
    """Return how the pages are served."""
    return uvicorn.Config(
        app,
        http=BoundedHttp,  # nobody has signed in yet who sends a head
        log_config=None,
        log_level="warning",
        access_log=False,  # a search for a part of a prompt stands in its URL
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _proxies(settings: Settings) -> TrustedProxies | None:
    try:
        return TrustedProxies.of(
            settings.dashboard_user_header, settings.dashboard_proxies, settings.dashboard_user_scopes
        )
    except ProxyError as error:
        fail(str(error), ExitCode.BROKEN)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        fail(f"cannot serve on {address} port {port}: {error.strerror}; choose another with --port", ExitCode.BROKEN)


def _bucket() -> Storage | None:
    """Return the bucket; None where no setting leads to one, because the other pages work without it."""
    try:
        return bucket(_SILENCE_SECONDS)
    except StorageError as error:
        errors().print(f"no pictures: {error}")
        return None


def _written(address: str) -> str:
    return f"[{address}]" if ":" in address else address
