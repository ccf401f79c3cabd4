"""One child of the supervisor: started by ``child.py``, in its own session, writing to its own log file."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ops.stack.errors import StackError

CHILD = Path(__file__).with_name("child.py")
LOG_LIMIT_BYTES = 8 * 1024 * 1024
TAIL_BYTES = 4096
TAIL_LINES = 6


@dataclass(frozen=True)
class Command:
    """A program to run: absolute path first, the whole environment, and the user to run as (see child.py)."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path
    identity: str = "same"
    death_signal: signal.Signals = signal.SIGKILL

    def wrapped(self) -> list[str]:
        """Return the arguments that start it as a child that cannot outlive this process."""
        return [
            *(sys.executable, "-I", "-S", str(CHILD)),
            *(str(os.getpid()), str(int(self.death_signal)), self.identity, str(self.directory)),
            *self.argv,
        ]


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it is gone or a zombie (proc(5))."""
    try:
        # The name in parentheses may hold anything, so count the fields from its end.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


class ServerProcess:
    """A running child; ``log`` is the file that holds what it wrote."""

    def __init__(self, name: str, command: Command, log: Path) -> None:
        # The kernel sends the death signal when the *thread* that started the child ends.
        if threading.current_thread() is not threading.main_thread():
            raise StackError(f"{name} must be started from the main thread, or it would die with this thread")
        self.name = name
        self.log = log
        self.started = time.monotonic()
        with open_log(log) as out:
            self._log_start = out.tell()
            try:
                self._popen = subprocess.Popen(
                    command.wrapped(),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=dict(command.environment),
                    # Ctrl-C reaches the whole foreground group; the supervisor stops its children in order.
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"cannot start {name}: {error}") from None
        self.pid = self._popen.pid
        self.start_ticks = start_ticks(self.pid) or 0

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""
        return self._popen.poll()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for its end, at most that long; None if it still runs then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._popen.wait(seconds)
        return None

    def send(self, number: int) -> None:
        """Send it a signal; nothing happens if it has ended."""
        self._popen.send_signal(number)

    def stop(self, number: int, seconds: float) -> int:
        """Ask it to end and wait; kill it and its group when the time is over. Returns the exit status."""
        self.send(number)
        # A stopped process gets no signal but KILL before it is continued.
        self.send(signal.SIGCONT)
        status = self.wait(seconds)
        if status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            status = self._popen.wait()
        return status

    def tail(self) -> str:
        """Return the last lines that this run wrote, as one line."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-TAIL_LINES:] if line.strip()) or "(it wrote nothing)"


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to, 0600; one past its limit is set aside first, so there are two at most."""
    try:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_LIMIT_BYTES:
                path.replace(path.with_suffix(".log.1"))
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    except OSError as error:
        raise StackError(f"cannot write the log {path}: {error.strerror}") from None
    file.seek(0, os.SEEK_END)
    return file
