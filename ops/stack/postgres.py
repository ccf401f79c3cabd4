"""PostgreSQL as a child: one data directory for one major version, over TCP on 127.0.0.1 with a password."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import ClassVar

from ops.stack.config import APP_ROLE, DATABASE, OWNER_ROLE, Config, DatabaseFiles
from ops.stack.errors import StackError
from ops.stack.identity import Identity, give_to
from ops.stack.ports import LOOPBACK
from ops.stack.process import Command, ServerProcess
from ops.stack.servers import Server

INITDB_SECONDS = 120.0
SHUTDOWN_SECONDS = 10.0
POLL_SECONDS = 0.05
BUILTIN_LOCALE_SINCE = 17
SETTINGS = {
    "listen_addresses": LOOPBACK,
    # A socket's path may have at most 107 bytes; a home may be deeper.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Prompts are in statements, in their parameters, in DETAIL lines and in the errors themselves.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
# Passwords are of letters, digits, - and _. What an older genqueue made belongs to the superuser: the owner takes it.
# Repeated hashing slows down who guesses a weak password. These are of 192 random bits, and every connection would pay
# for the usual 4,096 repetitions: 2 ms of the client's CPU. PostgreSQL 15 has no such setting.
ROLES = """
DO $$ DECLARE found record; BEGIN
  IF current_setting('server_version_num')::integer >= 160000 THEN
    PERFORM set_config('scram_iterations', '1', true);
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') THEN
    CREATE ROLE {owner};
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{app}') THEN
    CREATE ROLE {app};
  END IF;
  ALTER ROLE {owner} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{owner_password}';
  ALTER ROLE {app} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{app_password}';
  ALTER ROLE {database} PASSWORD '{password}';
  IF NOT EXISTS (SELECT FROM pg_database WHERE datname = '{database}' AND pg_get_userbyid(datdba) = '{owner}') THEN
    ALTER DATABASE {database} OWNER TO {owner};
  END IF;
  FOR found IN SELECT c.oid::regclass AS name FROM pg_class c
    WHERE c.relkind = 'r' AND c.relowner = to_regrole('{database}')
      AND c.relnamespace IN (to_regnamespace('public'), to_regnamespace('genqueue'))
  LOOP EXECUTE format('ALTER TABLE %s OWNER TO {owner}', found.name); END LOOP;
END $$
"""
# A killed postmaster's backends hold its shared memory until they notice.
STILL_IN_USE = "pre-existing shared memory block"


def database_problem(config: Config, database: str = DATABASE, statement: str = "SELECT 1") -> str | None:
    """Say why the database does not run a statement yet; None if it does."""
    import psycopg  # noqa: PLC0415, TID251 - slow to import, and the server must be asked before shared.db can be

    try:
        with psycopg.connect(
            host=LOOPBACK,
            port=config.ports["postgres"],
            user=DATABASE,
            password=config.postgres_password,
            dbname=database,
            sslmode="disable",
            connect_timeout=2,
            autocommit=True,
        ) as connection:
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return str(error).strip().rpartition("\n")[2] or type(error).__name__
    return None


class Postgres:
    """The database server of one home."""

    name: ClassVar[str] = "postgres"
    # SIGTERM would wait until every client has left.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, home: Path, config: Config, server: Server, identity: Identity, log: Path) -> None:
        self._home = home
        self._config = config
        self._server = server
        self._identity = identity
        self._log = log
        recorded = config.database_files
        self._data = home / recorded.directory if recorded else identity.base / f"pg{server.major}"
        self._has_roles = False

    @property
    def files(self) -> DatabaseFiles:
        """What the home must remember; a path inside it is relative, so that it can be moved."""
        inside = self._data.is_relative_to(self._home)
        directory = self._data.relative_to(self._home) if inside else self._data
        return DatabaseFiles(major=self._server.major, directory=directory)

    def prepare(self) -> None:
        """Create the data directory if this home never had one. Raises StackError with what initdb said."""
        try:
            if not self._data.exists():
                if self._config.database_files:
                    raise StackError(
                        f"the database of this home was in {self._data} and is gone: put it back, "
                        "or use another GENQUEUE_HOME"
                    )
                self._create()
            give_to(self._data, self._identity.owner)
            self._drop_stale_pid_file()
        except OSError as error:
            raise StackError(f"cannot prepare {self._data}: {error}") from None

    def command(self) -> Command:
        """Return how to start it."""
        settings = {**SETTINGS, "port": str(self._config.ports["postgres"])}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._command([str(self._identity.program), "-D", str(self._data), *options], signal.SIGINT)

    def problem(self) -> str | None:
        """Say why it is not ready; None if it is. Creates the database and its roles when missing."""
        problem = database_problem(self._config)
        if problem and f'database "{DATABASE}" does not exist' in problem:
            created = database_problem(self._config, "postgres", f"CREATE DATABASE {DATABASE}")
            problem = created or database_problem(self._config)
        if problem is None and not self._has_roles:
            problem = database_problem(self._config, DATABASE, self._roles())
            self._has_roles = problem is None
        return problem

    def _roles(self) -> str:
        names = {"owner": OWNER_ROLE, "app": APP_ROLE, "database": DATABASE}
        passwords = {
            "password": self._config.postgres_password,
            "owner_password": self._config.owner_password,
            "app_password": self._config.app_password,
        }
        return ROLES.format(**names, **passwords)

    def _create(self) -> None:
        draft = self._data.with_name(f"{self._data.name}.new")
        password = draft.with_suffix(".password")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(self._config.postgres_password)
            for path in (draft, password):
                give_to(path, self._identity.owner)
            initdb = ServerProcess("initdb", self._command(self._initdb(draft, password)), self._log)
            try:
                status = initdb.wait(INITDB_SECONDS)
            finally:
                initdb.stop(signal.SIGKILL, seconds=1.0)
            if status != 0:
                outcome = f"took over {INITDB_SECONDS:.0f} s" if status is None else f"failed with status {status}"
                raise StackError(f"initdb {outcome} ({self._log}): {initdb.tail()}")
            draft.replace(self._data)
        finally:
            password.unlink(missing_ok=True)
            shutil.rmtree(draft, ignore_errors=True)

    def _initdb(self, directory: Path, password: Path) -> list[str]:
        program = self._identity.program.with_name("initdb")
        locale = ["--locale=C.UTF-8"]
        if self._server.major >= BUILTIN_LOCALE_SINCE:
            # Sorts the same on every machine, whatever locales it has.
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        place = ["-D", str(directory), "-U", DATABASE, "--pwfile", str(password)]
        return [str(program), *place, "--auth=scram-sha-256", "--encoding=UTF8", *locale, "--no-instructions"]

    def _command(self, argv: list[str], death_signal: signal.Signals = signal.SIGKILL) -> Command:
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        return Command(argv, environment, self._identity.base, self._identity.how, death_signal)

    def _drop_stale_pid_file(self) -> None:
        """Remove the mark of a killed server: its number may since be another process's, or a zombie's."""
        mark = self._data / "postmaster.pid"
        if not mark.exists():
            return
        pid = mark.read_text().partition("\n")[0]
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while os.fsencode(self._data) in _command_line(pid):
            if time.monotonic() > deadline:
                raise StackError(f"PostgreSQL pid {pid} still runs on {self._data}: stop it (kill -INT {pid})")
            time.sleep(POLL_SECONDS)
        mark.unlink(missing_ok=True)


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
