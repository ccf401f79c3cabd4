"""Redis as a child: an append-only file synced every second, nothing evicted, a password in a 0600 file."""

import os
import socket
from pathlib import Path
from signal import SIGTERM, Signals
from typing import ClassVar

from ops.stack.config import Config
from ops.stack.errors import StackError
from ops.stack.ports import LOOPBACK
from ops.stack.process import Command
from ops.stack.servers import Server

ANSWER_SECONDS = 2.0
SETTINGS = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir ./
daemonize no
logfile ""
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


def redis_problem(config: Config) -> str | None:
    """Say why Redis does not answer a PING with its password yet; None if it does."""
    port = config.ports["redis"]
    try:
        with socket.create_connection((LOOPBACK, port), ANSWER_SECONDS) as connection:
            connection.sendall(f"AUTH {config.redis_password}\r\nPING\r\nQUIT\r\n".encode())
            with connection.makefile("rb") as replies:
                answer = replies.read(256)
    except OSError as error:
        return f"no answer on {LOOPBACK}:{port} ({error})"
    return None if answer.startswith(b"+OK\r\n+PONG\r\n") else f"it answered {answer[:60]!r}"


class Redis:
    """The broker of one home."""

    name: ClassVar[str] = "redis"
    stop_signal: ClassVar[Signals] = SIGTERM

    def __init__(self, directory: Path, config: Config, server: Server) -> None:
        # The append-only file of one major version means nothing to an older one.
        self._data = directory / f"redis{server.major}"
        self._settings = directory / "redis.conf"
        self._config = config
        self._server = server

    def prepare(self) -> None:
        """Write the settings file; the password stands there because anyone may read a command line."""
        text = SETTINGS.format(host=LOOPBACK, port=self._config.ports["redis"], password=self._config.redis_password)
        try:
            self._data.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with os.fdopen(os.open(self._settings, flags, 0o600), "w") as file:
                file.write(text)
        except OSError as error:
            raise StackError(f"cannot write {error.filename or self._settings}: {error.strerror}") from None

    def command(self) -> Command:
        """Return how to start it."""
        return Command(
            argv=[str(self._server.program), str(self._settings)],
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            directory=self._data,
            death_signal=SIGTERM,
        )

    def problem(self) -> str | None:
        """Say why it is not ready; None if it is."""
        return redis_problem(self._config)
