"""Fixtures of every tier: one real stack a run, a fresh database and a fresh simulator a test."""

import functools
import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from botocore.hooks import EventAliaser
from botocore.loaders import JSONFileLoader, Loader
from hypothesis import settings as hypothesis_settings

from ops.simulator import Simulator, SimulatorConfig
from ops.stack import Endpoints, Home, Stack, postgres, services
from ops.stack.servers import postgres_in
from producer import Client
from producer.client import enqueueing
from shared import log
from shared.settings import Settings
from tests.support.drain import remove_spools, runtime_for, settings_for
from tests.support.servers import Databases
from worker.runtime import Runtime
from worker.transport import s3_session

# Every full collection of garbage would walk through thousands of collected tests.
gc.disable()

# The same examples in each run: what fails here fails for everybody. `--hypothesis-profile=explore` looks further.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.register_profile("explore", max_examples=1000, deadline=None)
hypothesis_settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """A developer's own settings must not reach a test."""
    for name in list(os.environ):
        if name.startswith(("GENQUEUE_", "AWS_")):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


LONGEST_FIRST = (
    "e2e/test_trial.py",
    "chaos/test_chaos.py",
    "chaos/test_restored.py",
    "e2e/test_flower.py",
    "e2e/test_workers_lost.py",
    "e2e/test_neighbours.py",
    "e2e/test_rolling_upgrade.py",
    "e2e/test_redis_failover.py",
    "chaos/test_crash_points.py",
    "chaos/test_stops.py",
    "e2e/test_redis_lost.py",
    "e2e/test_evidence_stop.py",
    "integration/test_growth_of_reads.py",
    "integration/test_resume.py",
    "integration/test_resend_rate.py",
    "integration/test_lookup_proof.py",
)
"""Files that run for minutes begin first: begun last, one of them runs alone while the other processes are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: at for at, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get("/".join(item.path.parts[-2:]), len(place)))


def pytest_collection_finish() -> None:
    gc.freeze()
    # After each 700 new objects, as by default, looking for garbage takes a twentieth of a test process's time.
    gc.set_threshold(10_000)
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", type=Path, help="directory of the PostgreSQL programs to test with, not the wheel's")
    parser.addoption("--screenshots", type=Path, help="directory for screenshots of every page, in the browser's tests")


def pytest_sessionfinish() -> None:
    remove_spools()


@pytest.fixture(autouse=True, scope="session")
def _chosen_postgres(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every stack of the run has the PostgreSQL that was asked for."""
    directory = request.config.getoption("--postgres")
    with pytest.MonkeyPatch.context() as patch:
        if directory is not None:
            patch.setattr(services, "find_postgres", lambda _major=None: postgres_in(directory))
        yield


@pytest.fixture(autouse=True, scope="session")
def _servers_write_and_do_not_wait_for_the_disk() -> Iterator[None]:
    """The servers of a run die with it: what they write must survive their own deaths, and not the machine's.

    It is on their command line, where `ALTER SYSTEM` has no say.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(postgres.SETTINGS, "fsync", "off")
        yield


@pytest.fixture(autouse=True, scope="session")
def _what_never_changes_is_read_once() -> Iterator[None]:
    """Hundreds of tests open a worker's connections: boto's description of S3 and the certificates are files."""
    read = JSONFileLoader.load_file
    once = functools.cache(lambda path: read(JSONFileLoader(), path))
    own = s3_session._LOADER.file_loader  # a worker's own reader keeps a part of what it reads, and reads once anyhow
    services_of = Loader.list_available_services
    names = functools.cache(lambda type_name: services_of(Loader(), type_name))
    certificates = functools.cache(httpx.create_ssl_context)
    aliaser: Any = EventAliaser
    alias = aliaser._alias_event_name
    aliases = functools.cache(lambda event: alias(aliaser(None), event))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(JSONFileLoader, "load_file", lambda self, path: read(self, path) if self is own else once(path))
        patched.setattr(Loader, "list_available_services", lambda _self, type_name: names(type_name))
        patched.setattr(aliaser, "_alias_event_name", lambda _self, event: aliases(event))
        patched.setattr(httpx, "create_ssl_context", certificates)
        patched.setattr("httpx._transports.default.create_ssl_context", certificates)
        yield


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> None:
    """Keep structlog's default from drawing each traceback with all its variables: that takes seconds."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    log._PROCESSORS[:] = [structlog.processors.add_log_level, plain]
    structlog.configure(processors=log._PROCESSORS)


@pytest.fixture(autouse=True)
def _logs_as_before(_plain_logs: None) -> Iterator[None]:
    """Undo what a test, or a command that it runs here, set up: loggers live as long as their modules."""
    root, configured, processors = logging.getLogger(), structlog.get_config(), list(log._PROCESSORS)
    loggers = [root, *map(logging.getLogger, log._CHATTY)]
    levels, handlers = [logger.level for logger in loggers], list(root.handlers)
    yield
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        if logger.level != level:  # setting it makes every logger forget what it is enabled for
            logger.setLevel(level)
    log._PROCESSORS[:] = processors
    structlog.configure(**{**configured, "processors": log._PROCESSORS})


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Home(tmp_path_factory.mktemp("stack"))) as running:
        yield running


@pytest.fixture(scope="session")
def endpoints(stack: Stack) -> Endpoints:
    return stack.endpoints


@pytest.fixture(scope="session")
def databases(endpoints: Endpoints) -> Iterator[Databases]:
    made = Databases(endpoints)
    made.prepare()
    with made.sessions.at_work():
        yield made
    made.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        yield url


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    """A simulator whose time runs a hundred times faster than a provider's."""
    with Simulator(SimulatorConfig(time_scale=100, pixels=64)).serve() as running:
        yield running


@pytest.fixture
def settings(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Settings:
    return settings_for(database_url, endpoints, simulated.url)


@pytest.fixture
def runtime(settings: Settings, endpoints: Endpoints) -> Iterator[Runtime]:
    with runtime_for(settings, endpoints) as made:
        yield made


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Client(settings=settings) as opened:
        yield opened


@pytest.fixture
def older_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch be made under a name that only an older version took."""
    monkeypatch.setattr(enqueueing, "name_complaint", lambda _name: None)


@pytest.fixture
def repository() -> Path:
    return Path(__file__).parents[1]
