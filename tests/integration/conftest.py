"""Fixtures of the integration tests: an engine on a fresh database."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from shared.db.engine import Engine, open_engine


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(SecretStr(database_url), application="tests", pool_size=10)
    yield opened
    opened.dispose()
