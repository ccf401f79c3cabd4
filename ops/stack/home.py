"""The directory that holds everything of one stack: config.json, run.json, lock, the logs and the data."""

import os
import shutil
import tempfile
from pathlib import Path

from ops.stack.config import Config, read_config
from ops.stack.endpoints import Endpoints
from ops.stack.errors import StackError
from ops.stack.lock import Lock
from ops.stack.postgres import database_problem

DEFAULT = ".genqueue"
NEEDED_BYTES = 128 * 1024 * 1024


class Home:
    """A home by its path; nothing is created before ``create``."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock = Lock(self.path)

    @classmethod
    def default(cls) -> "Home":
        """Return the home that GENQUEUE_HOME names, else ``.genqueue`` in the working directory."""
        return cls(Path(os.environ.get("GENQUEUE_HOME") or DEFAULT))

    @property
    def config_file(self) -> Path:
        """Where the ports and passwords are kept."""
        return self.path / "config.json"

    def log(self, name: str) -> Path:
        """Return the log file of a child."""
        return self.path / f"{name}.log"

    def directory(self, name: str) -> Path:
        """Return a directory of this home, made 0700 if missing."""
        path = self.path / name
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StackError(f"cannot create {path}: {error.strerror}") from None
        return path

    def create(self) -> None:
        """Make the directory, 0700. Raises StackError if it cannot be written or the disk is full."""
        remedy = "set GENQUEUE_HOME to a directory that you can write"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Trying is the only test that a read-only file system and root both pass through.
            with tempfile.TemporaryFile(dir=self.path):
                pass
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            raise StackError(f"cannot write the home {self.path}: {error.strerror}; {remedy}") from None
        if self.read() is None and free < NEEDED_BYTES:
            raise StackError(
                f"{self.path}: only {free >> 20} MB free, a new stack needs {NEEDED_BYTES >> 20} MB; {remedy}"
            )

    def read(self) -> Config | None:
        """Read config.json; None before the first start. Raises StackError if it is damaged."""
        return read_config(self.config_file)

    def save(self, config: Config) -> None:
        """Write config.json; only the owner of the lock may."""
        self.write(self.config_file.name, config.model_dump_json(indent=2) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of this home, 0600, whole or not at all. Raises StackError."""
        path = self.path / name
        draft = path.with_suffix(".new")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise StackError(f"cannot write {path}: {error.strerror}") from None

    def supervised(self) -> bool:
        """Say whether a supervisor owns this home, also one that is only coming up; a command alone does not count."""
        if not self.lock.held_by_anyone():
            return False
        owner = self.lock.owner()
        return owner is None or not owner.one_command

    def running(self) -> Endpoints | None:
        """Return the endpoints of this home's living supervisor, else None.

        Its lock must be held, and PostgreSQL must answer with the recorded password and port. The others are not
        asked: a frozen broker or bucket must not stop a command that needs neither. A command that has PostgreSQL
        for itself does not count: it stops the database when it ends.
        """
        if not self.lock.held_by_anyone():
            return None
        owner, config = self.lock.owner(), self.read()
        if owner is None or config is None or owner.one_command or not owner.ready:
            return None
        if "postgres" in owner.services and database_problem(config):
            return None
        return config.endpoints()
