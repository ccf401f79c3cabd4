"""A database that waits for the newest migration serves this version: its workers, callers and pages come before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db import migrating, schema
from shared.db.engine import Engine, open_engine
from shared.settings import Settings
from tests.support.browsing import signed_in
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.outcome import BLOOM, GETIMG, ended
from tests.support.servers import Databases

PAGES = ("/", "/batches", "/batch?name=b", "/held", "/money", "/failures", "/accounts", "/webhooks")


@pytest.fixture
def waiting(databases: Databases) -> Iterator[str]:
    """A database at the oldest revision with which this code works."""
    with databases.fresh(migrated=False) as url:
        owner = open_engine(SecretStr(url), application="tests", pool_size=1)
        migrating.migrate(owner, to=schema.usable_revisions()[0])
        owner.dispose()
        yield url


@pytest.fixture
def settings(waiting: str, endpoints: Endpoints, simulated: Simulator) -> Settings:
    return settings_for(waiting, endpoints, simulated.url)


@pytest.fixture
def engine(waiting: str) -> Iterator[Engine]:
    opened = open_engine(SecretStr(waiting), application="tests", pool_size=2)
    yield opened
    opened.dispose()


def test_a_batch_goes_its_whole_road_and_is_shown_before_the_newest_migration(
    settings: Settings, endpoints: Endpoints, engine: Engine, tmp_path: Path
) -> None:
    prompts = ("a harbour", "a fog [sim:lost]", "a tram [sim:moderated]")
    rows = [{**one, "prompt": prompt} for one in (BLOOM, GETIMG) for prompt in prompts]
    with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
        client.enqueue(rows, batch="b")
        drain(runtime, ended(client))
        assert client.totals("b") == {"succeeded": 3, "failed": 2, "in_doubt": 1}
        stories = [client.story(job["id"]) for job in client.jobs("b")]
        assert len(stories) == len(rows)
    with signed_in(engine, tmp_path) as browser:
        assert [page for page in PAGES if browser.get(page).status_code != 200] == []
    assert migrated_to(engine) in schema.usable_revisions()


def migrated_to(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return schema.current_revision(connection)
