"""How a command finds its servers: by URL, else in the running stack of this directory, else PostgreSQL alone.

A directory may have two stacks, the real one and a trial's. `--trial` and `--real` choose one.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from ops import trial
from ops.cli import which
from ops.stack import Endpoints, Home, StackError, database_alone
from ops.stack.config import APP_ROLE
from producer.cli.session import errors
from producer.client import Client
from shared import trial as in_trial
from shared.db import purpose, schema, server_checks
from shared.db.audit import Actor
from shared.db.engine import Engine, open_engine, transaction
from shared.db.purpose import Purpose, PurposeError
from shared.settings import Settings, load

_ADOPTED: dict[str, str] = {}
_SIMULATOR_RAN = "simulator.json"


@contextmanager
def joined() -> Iterator[Settings]:
    """Yield settings whose database answers. The schema of a home's own database is migrated first.

    Raises `SettingsError`, `StackError`, `DatabaseUnavailableError`, `SchemaError` or `PurposeError`.
    """
    settings = load()
    if settings.database_url.get_secret_value():
        _check_by_url(settings)
        yield settings
        return
    home = chosen_home()
    alone = home.running() is None
    with database_alone(home) as endpoints:
        adopt(endpoints)
        settings = load()
        prepare_database(settings, home)
        if alone:
            errors().print(
                f"{_purpose(settings).label}: nothing runs in {_shown(home.path)}: using its database alone",
            )
        yield settings


def chosen_home() -> Home:
    """Return the home that this command is for, and make this process part of its trial if it is one.

    Raises `StackError` if both stacks of this directory run and no option chooses one.
    """
    asked = which.asked()
    if asked == "real":
        trial.leave()
    home = Home(load().home.absolute())
    if in_trial.in_force():
        return home
    beside = trial.home_beside(home)
    if trial.is_trials(home):
        if asked == "real":
            raise StackError(f"{home.path} is a trial's home: set GENQUEUE_HOME to another directory")
        beside = home
    elif asked == "real" or (asked is None and not _trial_runs_alone(home, beside)):
        return home
    trial.enter(beside)
    return beside


def _trial_runs_alone(real: Home, beside: Home) -> bool:
    if not beside.supervised():
        return False
    if real.supervised():
        raise StackError(f"both a trial and the real stack run in {_shown(real.path)}: say --trial or --real")
    return True


def adopt(endpoints: Endpoints) -> None:
    """Make this process, and its children, use the servers at `endpoints`."""
    os.environ.update(endpoints.environment())
    _ADOPTED.update(endpoints.environment())


def adopted() -> frozenset[str]:
    """Return the variables that come from a home's own servers, not from the process that started this one."""
    return frozenset(name for name, value in _ADOPTED.items() if os.environ.get(name) == value)


def prepare_database(settings: Settings, home: Home) -> None:
    """Migrate the database of a home, and record its purpose if it has none.

    Raises `PurposeError` if the database is a trial's and the home is not, or the other way round.
    """
    migrate_quietly(_as_owner(settings, home), {"worker": APP_ROLE}, unless_granted=True)
    decide_purpose(settings, simulator_was_here=(home.path / _SIMULATOR_RAN).exists())


def owning(settings: Settings) -> Settings:
    """Return the settings for the tables' owner: those of the home's own database, or the given settings."""
    return _as_owner(settings, chosen_home()) if "GENQUEUE_DATABASE_URL" in adopted() else settings


def _as_owner(settings: Settings, home: Home) -> Settings:
    config = home.read()
    if config is None:
        raise StackError(f"{home.path} has no servers of its own")
    return settings.model_copy(update={"database_url": SecretStr(config.endpoints().owner_url)})


def prove_database(settings: Settings) -> None:
    """Return where a worker can rely on the database's server; raises as `shared.db.server_checks.prove` does."""
    engine = _open(settings, "start")
    try:
        server_checks.prove(engine)
    finally:
        engine.dispose()


def decide_purpose(settings: Settings, *, simulator_was_here: bool = False) -> None:
    """Record the purpose of a database if it has none, and report the jobs that a trial left in it.

    Raises `PurposeError` if these settings' accounts may not serve it, and `SchemaError`.
    """
    engine = _open(settings, "start")
    try:
        schema.check(engine)
        with transaction(engine) as connection:
            held = purpose.settle(connection, _purpose(settings), simulator_was_here=simulator_was_here)
    finally:
        engine.dispose()
    if held:
        errors().print(
            f"{held:,} unfinished jobs are left over from a trial with the simulator: they are held, and `genqueue "
            "explain JOB` says what you can do",
        )


def migrate_quietly(
    settings: Settings, roles: Mapping[str, str] | None = None, *, unless_granted: bool = False
) -> None:
    """Migrate the database, and grant `roles` (kind -> name) their rights in it.

    With `unless_granted`, rights are granted only if a migration ran or a role has none yet.
    """
    from shared.db.roles import grant, is_granted  # noqa: PLC0415 - most commands migrate nothing

    engine = _open(settings, "migrate")
    try:
        current = schema.is_current(engine)
        if not current:
            from shared.db.migrating import migrate  # noqa: PLC0415 - alembic takes half a second to import

            migrate(engine)
        if roles and not (unless_granted and current and all(is_granted(engine, role) for role in roles.values())):
            grant(engine, roles)
    finally:
        engine.dispose()


@contextmanager
def open_client() -> Iterator[Client]:
    """Yield a client of the servers that this command finds."""
    with joined() as settings, Client(settings=settings, actor=Actor.of_process("cli")) as opened:
        yield opened


def _open(settings: Settings, command: str) -> Engine:
    return open_engine(
        settings.database_url, application=f"genqueue {command}", pool_size=1, schema=settings.database_schema
    )


def _check_by_url(settings: Settings) -> None:
    """Refuse a database URL that contradicts the trial's variable or the person's option; without either, accept it."""
    asked, own = which.asked(), _purpose(settings)
    if asked is not None and asked != own:
        raise StackError(f"GENQUEUE_DATABASE_URL is set, so --{asked} has nothing to choose from: unset it first")
    if asked is None and own is Purpose.REAL:
        return
    engine = _open(settings, "join")
    try:
        with transaction(engine) as connection:
            # One without a schema holds nobody's jobs yet; one that nobody has decided about may hold real ones.
            undecided = Purpose.REAL if schema.current_revision(connection) else own
            found = purpose.of(connection) or undecided
    finally:
        engine.dispose()
    if found is not own:
        raise PurposeError(own)


def _purpose(settings: Settings) -> Purpose:
    return Purpose.TRIAL if settings.trial else Purpose.REAL


def _shown(path: Path) -> str:
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
