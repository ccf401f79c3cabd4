"""A standby: whoever writes is refused with what to do, and whoever reads goes on."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from pydantic import SecretStr

from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine, UnfitServerError, open_engine
from shared.settings import load
from tests.support import rows
from tests.support.browsing import signed_in
from tests.support.command import Ran, genqueue
from tests.support.standby import at_port, standby_of


@pytest.fixture
def standby_url(engine: Engine, endpoints: Endpoints, database_url: str, tmp_path: Path) -> Iterator[str]:
    """The test's database, with one batch of two jobs, on a standby."""
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    place = tmp_path / "standby"
    place.mkdir()
    with standby_of(endpoints.admin_url, place) as port:
        yield at_port(database_url, port)


def test_a_standby_serves_readers_and_refuses_writers_with_what_to_do(
    standby_url: str, endpoints: Endpoints, tmp_path: Path
) -> None:
    home = str(tmp_path / "home")
    environment = {**endpoints.environment(), "GENQUEUE_DATABASE_URL": standby_url, "GENQUEUE_HOME": home}

    def run(*arguments: str) -> Ran:
        return genqueue(*arguments, env=environment, cwd=tmp_path)

    worker = run("worker")
    assert (worker.code, worker.err.count("error:"), "Traceback" in worker.err) == (1, 1, False)
    assert "takes no writes: name the primary in GENQUEUE_DATABASE_URL" in worker.err
    assert "takes no writes" in run("doctor", "--json").out
    assert "queued" in run("jobs", "b").out
    with Client(settings=load(database_url=standby_url)) as client:
        assert client.totals("b") == {"queued": 2}
        with pytest.raises(UnfitServerError, match="takes no writes"):
            client.enqueue([{"provider": "bloom", "prompt": "a harbour"}], batch="b")
    pages = ("/", "/batches", "/batch?name=b", "/held", "/money", "/failures", "/accounts", "/webhooks")
    assert [code for code in read(standby_url, tmp_path, pages) if code != HTTPStatus.OK] == []


def read(url: str, directory: Path, pages: Iterable[str]) -> list[int]:
    """Return the status of each page of a dashboard on this database."""
    engine = open_engine(SecretStr(url), application="tests", pool_size=2)
    with signed_in(engine, directory) as browser:
        found = [browser.get(page).status_code for page in pages]
    engine.dispose()
    return found
