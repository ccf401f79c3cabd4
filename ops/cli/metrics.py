"""`genqueue metrics`: what the database knows, for Prometheus."""

import signal
import threading
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry, Info, start_http_server

from ops.cli.join import joined
from ops.monitoring.collector import QueueCollector
from ops.version import own_version
from producer.cli.session import ExitCode, errors, fail, told
from shared.db import schema
from shared.db.engine import Engine, open_engine
from shared.settings import Settings


def metrics(
    port: Annotated[int, typer.Option(min=0, max=65535, help="port of /metrics; 0 = a free one")] = 9463,
    address: Annotated[str, typer.Option(help="address to listen on; there is no password")] = "127.0.0.1",
) -> None:
    """Serve the state of the whole queue to Prometheus, until SIGTERM or Ctrl-C.

    Run it once, beside any number of workers. A role that only reads is enough.
    Workers serve what they count themselves: GENQUEUE_METRICS_ADDRESS.

    Example: genqueue metrics --port 9463
    """
    with told(), joined() as settings:
        engine = _engine(settings)
        try:
            schema.check(engine)
            _serve(engine, address, port)
        finally:
            engine.dispose()


def _engine(settings: Settings) -> Engine:
    return open_engine(
        settings.database_url,
        application="genqueue metrics",
        pool_size=2,
        schema=settings.database_schema,
        may_be_pooled=True,
    )


def registry_of(engine: Engine) -> CollectorRegistry:
    """Return a registry that collects the state of the queue in `engine`'s database."""
    registry = CollectorRegistry()
    QueueCollector(engine, registry)
    Info("genqueue_build", "The version that serves this page.", registry=registry).info({"version": own_version()})
    return registry


def _serve(engine: Engine, address: str, port: int) -> None:
    try:
        server, _thread = start_http_server(port, address, registry_of(engine))
    except OSError as error:
        fail(f"cannot serve on {address} port {port}: {error.strerror}; choose another with --port", ExitCode.BROKEN)
    errors().print(f"metrics on http://{address}:{server.server_port}/metrics")
    stop = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stop.set())
    stop.wait()
    server.shutdown()
