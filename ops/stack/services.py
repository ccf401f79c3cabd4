"""The services of a home: what the supervisor needs to start each and to ask whether it answers."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ops.stack.config import Config
from ops.stack.home import Home
from ops.stack.identity import Identity
from ops.stack.objects import Objects, emulator_title
from ops.stack.postgres import Postgres
from ops.stack.process import Command, open_log
from ops.stack.redis import Redis
from ops.stack.servers import Server, find_postgres, find_redis

ChooseIdentity = Callable[[Server, Path], Identity]


class Service(Protocol):
    """A server that a stack knows how to start and to ask."""

    @property
    def name(self) -> str:
        """Its name, and its log's."""

    @property
    def stop_signal(self) -> signal.Signals:
        """The signal that ends it soon and in order."""

    def prepare(self) -> None:
        """Write what it needs before it starts."""

    def command(self) -> Command:
        """Return how to start it."""

    def problem(self) -> str | None:
        """Say why it is not ready; None if it is."""


def build_service(name: str, home: Home, config: Config, choose_identity: ChooseIdentity) -> tuple[Service, str]:
    """Return a service of this home, and which server of which version it is.

    Raises StackError if no server is installed that can run here.
    """
    if name == Postgres.name:
        return _postgres(home, config, choose_identity)
    if name == Redis.name:
        redis = find_redis()
        return Redis(home.path, config, redis), str(redis)
    return Objects(home.path, config), emulator_title()


def _postgres(home: Home, config: Config, choose_identity: ChooseIdentity) -> tuple[Postgres, str]:
    log = home.log(Postgres.name)
    server = find_postgres(config.database_files.major if config.database_files else None)
    identity = choose_identity(server, home.path)
    with open_log(log) as file:
        file.write(f"genqueue: {server} runs {identity.reason}\n".encode())
    return Postgres(home.path, config, server, identity, log), str(server)
