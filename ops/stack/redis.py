"""Redis as a child: an append-only file synced every second, nothing evicted.

It listens on a Unix socket in a directory that no other user can enter, and not on TCP: every user and every web page
of the machine could reach a port, and the Redis of the wheel (6.2) has known holes.
"""

import os
import socket
import string
from pathlib import Path
from signal import SIGTERM, Signals
from typing import ClassVar

from ops.stack.config import Config
from ops.stack.errors import StackError
from ops.stack.process import Command
from ops.stack.servers import Server
from ops.stack.sockets import make_place

ANSWER_SECONDS = 2.0
SETTINGS = """\
port 0
unixsocket {socket}
unixsocketperm 600
dir ./
daemonize no
logfile ""
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


def redis_problem(config: Config) -> str | None:
    """Say why Redis does not answer a PING yet; None if it does."""
    if config.redis_socket is None:
        return "it was never started"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(config.redis_socket))
            connection.sendall(b"PING\r\nQUIT\r\n")
            with connection.makefile("rb") as replies:
                answer = replies.read(256)
    except OSError as error:
        return f"no answer on {config.redis_socket} ({error})"
    return None if answer.startswith(b"+PONG\r\n") else f"it answered {answer[:60]!r}"


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
        """Write the settings file, and make the place of its socket."""
        if self._config.redis_socket is None:
            raise StackError("Redis has no place for its socket")
        text = SETTINGS.format(socket=_quoted(self._config.redis_socket))
        try:
            make_place(self._config.redis_socket, self._settings.parent)
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


def _quoted(path: Path) -> str:
    """Return a path as redis.conf takes it, whatever its letters are."""
    plain = frozenset(map(ord, string.ascii_letters + string.digits + "/._-"))
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'
