"""Fixtures of every tier: one real stack a run, a fresh database and a fresh simulator a test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.simulator import Simulator, SimulatorConfig
from ops.stack import Endpoints, Home, Stack
from producer import Client
from shared.settings import Settings
from tests.support.drain import runtime_for, settings_for
from tests.support.servers import Databases
from worker.runtime import Runtime


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """A developer's own settings must not reach a test."""
    for name in list(os.environ):
        if name.startswith(("GENQUEUE_", "AWS_")):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Home(tmp_path_factory.mktemp("stack"))) as running:
        yield running


@pytest.fixture(scope="session")
def endpoints(stack: Stack) -> Endpoints:
    return stack.endpoints


@pytest.fixture(scope="session")
def databases(endpoints: Endpoints) -> Databases:
    made = Databases(endpoints)
    made.prepare()
    return made


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
def repository() -> Path:
    return Path(__file__).parents[1]
