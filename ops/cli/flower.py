"""`genqueue flower`: Flower's view of the workers, read-only and on loopback by default."""

import contextlib
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from celery.events import EventReceiver
from flower.app import Flower  # type: ignore[import-untyped]
from flower.command import apply_env_options, extract_settings, setup_logging  # type: ignore[import-untyped]
from flower.events import Events  # type: ignore[import-untyped]
from flower.options import options  # type: ignore[import-untyped]
from flower.urls import settings as web_settings  # type: ignore[import-untyped]
from pydantic import SecretStr
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.options import Error as OptionError
from tornado.web import OutputTransform, RequestHandler

from ops.cli.join import chosen_home
from ops.hosts import is_known
from producer.cli.session import ExitCode, errors, fail, told
from shared import log
from shared.broker import create_app
from shared.settings import Settings, load

_log = logging.getLogger(__name__)
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# The oldest is forgotten first. A job's state is in the database; Flower shows only the messages.
_MAX_TASKS: Final = 20_000
_PURGE_SECONDS: Final = 600
# The arguments are an account and the number of jobs, such as "(bloom, 12 jobs)". People look for these here.
_COLUMNS: Final = "name,args,state,received,runtime,worker,uuid"
_RETRY_SECONDS: Final = 2.0
_CREDENTIALS: Final = re.compile(r"[^:]+:.+")
_REMEDY: Final = "set FLOWER_BASIC_AUTH=user:password"


class _SteadyEvents(Events):  # type: ignore[misc] # Flower ships no types
    """Listens again within seconds of the broker's return; kombu's own wait grows silently to half a minute."""

    def run(self) -> None:
        """Pass on the workers' events for as long as the process lives."""
        while True:
            try:
                with self.capp.connection() as connection:
                    connection.connect()
                    receiver = EventReceiver(connection, handlers={"*": self.on_event}, app=self.capp)
                    receiver.capture(limit=None, timeout=None, wakeup=True)
            except Exception as error:  # noqa: BLE001 - whatever it is, the pages stay up and the next try may work
                _log.warning("no events from the broker (%s); trying again", type(error).__name__)
            time.sleep(_RETRY_SECONDS)


class _SameOrigin(OutputTransform):
    """Removes the header with which Flower lets every web page read an API without a password."""

    def transform_first_chunk(
        self,
        status_code: int,
        headers: HTTPHeaders,
        chunk: bytes,
        finishing: bool,
    ) -> tuple[int, HTTPHeaders, bytes]:
        for name in [name for name in headers if name.lower().startswith("access-control-")]:
            del headers[name]
        return super().transform_first_chunk(status_code, headers, chunk, finishing)


class _Misdirected(RequestHandler):
    """Tells who came under a name that is not ours."""

    def prepare(self) -> None:
        self.set_status(HTTPStatus.MISDIRECTED_REQUEST)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("Flower answers here under 127.0.0.1 and localhost; `genqueue flower --host NAME` adds a name\n")


class _NamedFlower(Flower):  # type: ignore[misc] # Flower ships no types
    """Answers under its own names alone, so that no web page reads it by a name that resolves to this machine."""

    names: frozenset[str] | None = frozenset()

    def find_handler(self, request: HTTPServerRequest, **options: Any) -> Any:
        if self.names is None or is_known(request.headers.get("Host", ""), self.names):
            return super().find_handler(request, **options)
        return self.get_handler_delegate(request, _Misdirected)


def flower(
    port: Annotated[int, typer.Option(min=0, max=65535, help="port of its pages; 0 = a free one")] = 5555,
    address: Annotated[
        str, typer.Option(help="address to listen on; beyond loopback only with FLOWER_BASIC_AUTH or FLOWER_AUTH")
    ] = "127.0.0.1",
    host: Annotated[
        list[str] | None, typer.Option(help="a further name that its pages are asked for by, such as a proxy's")
    ] = None,
    writable: Annotated[bool, typer.Option("--writable", help="allow its control buttons; needs a password")] = False,
) -> None:
    """Show live workers and the stages they run, in Flower; `genqueue explain` shows the state of a job.

    Example: genqueue flower --port 5555
    """
    with told():
        settings = load()
        log.configure(settings.log_level, settings.log_format)
        _configure(address, port, writable=writable)
        _protect(address, writable=writable)
        _serve(_application(_broker(settings), settings.broker_ca_file, host or ()), address, port)


def _configure(address: str, port: int, *, writable: bool) -> None:
    """Set Flower's options: our defaults, then `FLOWER_...` variables, then options that nobody may change."""
    options.max_tasks = _MAX_TASKS
    options.purge_offline_workers = _PURGE_SECONDS
    options.tasks_columns = _COLUMNS
    try:
        apply_env_options()
    except (ValueError, OptionError) as error:
        fail(f"a FLOWER_... variable is not what Flower expects: {error}", ExitCode.BROKEN)
    options.address, options.port, options.unix_socket = address, port, ""
    options.read_only = not writable
    options.debug = False  # its error pages would show tracebacks
    extract_settings()
    setup_logging()


def _protect(address: str, *, writable: bool) -> None:
    """Refuse settings that would open Flower to anyone but the person at this machine."""
    if any(not _CREDENTIALS.fullmatch(each) for each in options.basic_auth or ()):
        fail("FLOWER_BASIC_AUTH must be user:password, several separated by commas", ExitCode.BROKEN)
    if options.basic_auth or options.auth:
        return
    if address not in _LOOPBACK:
        fail(f"Flower on {address} would be open to everyone: {_REMEDY}, or stay on loopback", ExitCode.BROKEN)
    if writable:
        # A page of any web site can post to loopback, and such a post may stop a worker.
        fail(f"--writable would let every web page that you open stop workers: {_REMEDY}", ExitCode.BROKEN)
    os.environ.setdefault("FLOWER_UNAUTHENTICATED_API", "true")


def _broker(settings: Settings) -> SecretStr:
    """Return the broker's URL: the one that is set, else that of the home's running stack."""
    if settings.broker_url.get_secret_value():
        return settings.broker_url
    embedded = None if settings.database_url.get_secret_value() else chosen_home().running()
    if embedded is None:
        fail("no broker: set GENQUEUE_BROKER_URL, or start everything with `genqueue up`", ExitCode.BROKEN)
    return SecretStr(embedded.broker_url)


def _serve(application: Any, address: str, port: int) -> NoReturn:
    try:
        bound = application.start_http_server()
    except OSError as error:
        with contextlib.suppress(typer.Exit):
            fail(
                f"cannot serve on {address} port {port}: {error.strerror}; choose another with --port", ExitCode.BROKEN
            )
        _leave(ExitCode.BROKEN)
    scheme = "https" if application.ssl_options else "http"
    host = f"[{address}]" if ":" in address else address
    prefix = f"{options.url_prefix.strip('/')}/" if options.url_prefix else ""
    errors().print(f"{scheme}://{host}:{bound}/{prefix}")
    loop = application.io_loop
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.asyncio_loop.add_signal_handler(number, loop.stop)
    application.start()
    application.stop()
    _leave(ExitCode.DONE)


def _leave(code: ExitCode) -> NoReturn:
    """End at once: Flower's threads may wait for an absent broker, and an ordinary exit would wait for the threads."""
    sys.stderr.flush()
    os._exit(code)


def _application(broker_url: SecretStr, ca_file: Path | None, names: Iterable[str]) -> Any:
    """Return Flower on this broker, with events that return soon after an outage. Nothing is bound or connected yet.

    It answers under its addresses, localhost and `names`; with a password under every name, because a browser sends the
    password to no page of another.
    """
    loop, celery = IOLoop.current(), create_app(broker_url, ca_file)
    events = _SteadyEvents(
        celery,
        db=options.db,
        persistent=options.persistent,
        state_save_interval=options.state_save_interval,
        enable_events=options.enable_events,
        io_loop=loop,
        max_workers_in_memory=options.max_workers,
        max_tasks_in_memory=options.max_tasks,
    )
    application = _NamedFlower(capp=celery, options=options, events=events, io_loop=loop, **web_settings)
    application.add_transform(_SameOrigin)
    application.names = None if options.basic_auth or options.auth else frozenset(name.lower() for name in names)
    return application
