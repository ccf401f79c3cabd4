"""`genqueue api`: the HTTP API, for programs in any language."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

import typer
import uvicorn

from ops.bounded_http import BoundedHttp
from ops.cli.download import bucket
from ops.cli.join import joined
from ops.hosts import is_known
from producer.api import ApiDoors, LinkError, create_app
from producer.cli.session import errors, told
from producer.client import Client
from shared import log
from shared.db.audit import Actor
from shared.db.purpose import Purpose
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageError

_CONNECTIONS: Final = 16
_OFFERS_SECONDS: Final = 30.0  # prices are read once an hour, and each reading is some hundred documents
_IDLE_SECONDS: Final = 65  # longer than a proxy in front keeps its connection
_STOP_SECONDS: Final = 20
_TURN_SECONDS: Final = 0.0005
"""How long the check of a file keeps a small request waiting at each of its steps. Python's own 5 ms add up."""


def api(
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0 = a free one")] = 8470,
    address: Annotated[
        str, typer.Option(help="address to listen on; beyond this machine, put a TLS proxy before it")
    ] = ("127.0.0.1"),
) -> None:
    """Serve the HTTP API: jobs, batches and results, for programs that have a token.

    `genqueue token create` makes a token. A trial needs none. Callers reach the
    API as localhost, or under the names in GENQUEUE_API_HOSTS.

    Example: genqueue api --port 8470
    """
    with told(), joined() as settings:
        log.configure(settings.log_level, settings.log_format)
        actor = Actor.of_process("api")
        with Client(settings=settings, actor=actor, connections=_CONNECTIONS, offers_seconds=_OFFERS_SECONDS) as client:
            trial = client.purpose() is Purpose.TRIAL
            names = frozenset(map(str.lower, settings.api_hosts))
            doors = ApiDoors(client, _linker(bucket(for_links=True)), partial(is_known, names=names), open_to_all=trial)
            errors().print("TRIAL: no token is needed" if trial else "REAL: each request needs a token")
            _serve(doors, address, port)


def _linker(storage: Storage) -> Callable[[str, int], str]:
    def link(key: str, seconds: int) -> str:
        try:
            return storage.presign(key, seconds)
        except StorageError as error:
            raise LinkError(str(error)) from None

    return link


def _serve(doors: ApiDoors, address: str, port: int) -> None:
    config = uvicorn.Config(
        create_app(doors),
        host=address,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=BoundedHttp,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    sys.setswitchinterval(_TURN_SECONDS)
    uvicorn.Server(config).run()
