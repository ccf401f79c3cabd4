"""`genqueue flower`: the workers' own view, read-only and on loopback unless told otherwise."""

import os
from typing import Annotated, Final

import typer

from ops.cli.join import joined
from producer.cli.session import ExitCode, errors, fail, told
from shared.broker import create_app

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# Forgotten oldest first; what became of a job is in the database, Flower only shows the nudges.
_MAX_TASKS: Final = 20_000
_PURGE_SECONDS: Final = 600


def flower(
    port: Annotated[int, typer.Option(help="where its pages are served")] = 5555,
    address: Annotated[
        str, typer.Option(help="beyond loopback only with FLOWER_BASIC_AUTH or OAuth set")
    ] = "127.0.0.1",
    writable: Annotated[bool, typer.Option("--writable", help="allow its control buttons")] = False,
) -> None:
    """Show live workers and the stages they run, in Flower; what became of each job is in `genqueue explain`.

    Example: genqueue flower --port 5555
    """
    if address not in _LOOPBACK and not _protected():
        fail(
            f"Flower on {address} would be open to everyone: set FLOWER_BASIC_AUTH=user:password, or stay on loopback",
            ExitCode.BROKEN,
        )
    with told(), joined() as settings:
        if not settings.broker_url.get_secret_value():
            fail("no broker: set GENQUEUE_BROKER_URL, or start everything with `genqueue up`", ExitCode.BROKEN)
        if not _protected():
            # On loopback, and read-only: its API may be asked without a password.
            os.environ["FLOWER_UNAUTHENTICATED_API"] = "true"
        errors().print(f"http://{address}:{port}/", markup=False)
        create_app(settings.broker_url).start(
            [
                "--quiet",
                "flower",
                f"--address={address}",
                f"--port={port}",
                f"--read_only={not writable}",
                f"--max_tasks={_MAX_TASKS}",
                f"--purge_offline_workers={_PURGE_SECONDS}",
                "--enable_events=True",
                "--logging=warning",
            ]
        )


def _protected() -> bool:
    return any(os.environ.get(name) for name in ("FLOWER_BASIC_AUTH", "FLOWER_AUTH", "FLOWER_AUTH_PROVIDER"))
