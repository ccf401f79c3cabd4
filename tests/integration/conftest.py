"""Fixtures of the integration tests: an engine on a fresh database."""

from collections.abc import Iterator

import pytest
from httpx import Client as Http
from pydantic import SecretStr

from producer import Actor, Client
from shared.db.engine import Engine, open_engine
from shared.settings import load
from tests.support.api import bearer, serving


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(SecretStr(database_url), application="tests", pool_size=10)
    yield opened
    opened.dispose()


@pytest.fixture
def alice(database_url: str) -> Iterator[Client]:
    """Somebody's client, with a connection for each of several callers."""
    with Client(settings=load(database_url=database_url), actor=Actor("alice", "test"), connections=8) as opened:
        yield opened


@pytest.fixture
def http(alice: Client) -> Iterator[Http]:
    """The HTTP API on her client, to whoever has a backend's token."""
    with serving(alice) as opened:
        opened.headers.update(bearer(alice))
        yield opened
