"""The lock that makes one process the owner of a home, and its note of who that is and what it started."""

import contextlib
import fcntl
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ops.stack.errors import HomeBusyError, StackError
from ops.stack.process import start_ticks

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Whoever only asks whether the lock is taken holds it for microseconds; that must not count as busy.
ASKING_SECONDS = 0.3
LEFTOVER_SECONDS = 10.0
POLL_SECONDS = 0.02


class Child(BaseModel):
    """A process that cannot be mistaken for another one with the same number."""

    model_config = ConfigDict(frozen=True)
    pid: int
    start_ticks: int

    def alive(self) -> bool:
        """Say whether it runs; a zombie does not."""
        return start_ticks(self.pid) == self.start_ticks


class Owner(BaseModel):
    """The note in run.json: the owner of the lock and its children."""

    pid: int = Field(default_factory=os.getpid)
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    boot: str = Field(default_factory=lambda: BOOT_ID.read_text().strip())
    one_command: bool = False
    ready: bool = False
    services: list[str] = Field(default_factory=list)
    children: dict[str, Child] = Field(default_factory=dict)


class Lock:
    """An flock on ``lock``; the kernel drops it with its owner, however that ends."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / "lock"
        self._note = home / "run.json"
        self._fd: int | None = None

    def acquire(self, owner: Owner, wait_seconds: float) -> None:
        """Become the owner and end what a killed owner left running.

        Waits ``wait_seconds`` for a command that uses the home for itself, and hardly at all for a
        supervisor. Raises HomeBusyError naming the owner.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(f"cannot open {self._path}: {error.strerror}") from None
        begun = time.monotonic()
        while not _try_lock(fd):
            current = self.owner()
            patience = wait_seconds if current is None or current.one_command else 0.0
            if time.monotonic() - begun > max(patience, ASKING_SECONDS):
                os.close(fd)
                raise HomeBusyError(self._busy(current))
            time.sleep(POLL_SECONDS)
        self._fd = fd
        try:
            self._end_leftovers()
            self.note(owner)
        except BaseException:
            self.release(children_ended=False)
            raise

    def release(self, *, children_ended: bool = True) -> None:
        """Give the home back; harmless when it is not held. The note stays while a child may still run."""
        if self._fd is not None:
            if children_ended:
                self._note.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None

    def held_by_anyone(self) -> bool:
        """Say whether a living process owns the home."""
        try:
            fd = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StackError(f"cannot open {self._path}: {error.strerror}") from None
        try:
            return not _try_lock(fd)
        finally:
            os.close(fd)

    def note(self, owner: Owner) -> None:
        """Write run.json anew, whole or not at all."""
        draft = self._note.with_suffix(".new")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(owner.model_dump_json())
            draft.replace(self._note)
        except OSError as error:
            raise StackError(f"cannot write {self._note}: {error.strerror}") from None

    def owner(self) -> Owner | None:
        """Read run.json; None if there is none, or none that can be read."""
        try:
            return Owner.model_validate_json(self._note.read_bytes())
        except (OSError, ValidationError):
            return None

    def _busy(self, current: Owner | None) -> str:
        if current is None or start_ticks(current.pid) is None:
            return f"{self._home} is in use by another process: wait for it, or use another GENQUEUE_HOME"
        since = current.since.astimezone().isoformat(sep=" ", timespec="seconds")
        what = "in use by one command" if current.one_command else "already running"
        return (
            f"{what}: pid {current.pid} since {since} in {self._home}; "
            f"stop it (kill {current.pid}) or use another GENQUEUE_HOME"
        )

    def _end_leftovers(self) -> None:
        last = self.owner()
        if last is None or last.boot != Owner().boot:
            return
        children = list(last.children.values())
        # They got their death signal with the owner: most are gone, some are still shutting down.
        _await_end(children, LEFTOVER_SECONDS)
        for child in children:
            if child.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
        for child in _await_end(children, LEFTOVER_SECONDS):
            raise StackError(f"pid {child.pid} of the last run in {self._home} does not end: stop it (kill -9)")


def _await_end(children: list[Child], seconds: float) -> list[Child]:
    deadline = time.monotonic() + seconds
    while (alive := [child for child in children if child.alive()]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return alive


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
