"""Fixtures of the integration tests: an engine on a fresh database, and logs that are cheap to write."""

from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from shared.db.engine import Engine, open_engine


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> Iterator[None]:
    """Keep structlog's default from drawing each traceback with all its variables: that takes seconds."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])
    yield
    structlog.reset_defaults()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(SecretStr(database_url), application="tests", pool_size=10)
    yield opened
    opened.dispose()
