"""Workers run while a migration runs that only adds; one that takes something away waits until they are stopped."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from pydantic import SecretStr

from ops.simulator import Simulator
from ops.stack import Home, Stack
from ops.stack.config import APP_ROLE
from producer import Client
from shared.db import migrating, schema
from shared.db.engine import Engine, open_engine
from shared.db.roles import grant
from shared.db.schema import SchemaError
from tests.e2e.conftest import SIMULATED
from tests.e2e.site import Site, open_site
from tests.support import rows

NEWEST = schema.wanted_revision()
BEFORE = schema.known_revisions()[-2]
needs_expansion = pytest.mark.skipif(not schema.expands(NEWEST), reason=f"{NEWEST} needs every worker to be stopped")


@pytest.fixture
def owner(tmp_path: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Engine]]:
    """A stack whose database is one revision behind the code, and its owner's connections."""
    with Stack(Home(tmp_path_factory.mktemp("rolling") / "home")) as stack:
        engine = open_engine(SecretStr(stack.endpoints.owner_url), application="tests", pool_size=2)
        migrating.migrate(engine, to=BEFORE)
        grant(engine, {"worker": APP_ROLE})
        yield stack, engine
        engine.dispose()


@pytest.fixture
def behind(owner: tuple[Stack, Engine]) -> Iterator[tuple[Site, Engine]]:
    with Simulator(SIMULATED).serve() as simulator:
        site = open_site(owner[0], simulator)
        yield site, owner[1]
        site.close()


@needs_expansion
def test_a_batch_goes_on_while_the_database_is_migrated_under_it(behind: tuple[Site, Engine]) -> None:
    site, engine = behind
    process = site.start_worker("worker-1")
    site.await_ticking(1)
    site.client.enqueue(
        [{"provider": "bloom", "prompt": f"a harbour {number}"} for number in range(30)],
        batch="rolling",
        max_cost=["bloom=1000"],
    )
    site.await_paid(5)
    assert migrating.migrate(engine) == NEWEST
    assert site.accepted() < 30, "the migration came too late to be in the middle"
    assert site.await_settled("rolling") == {"succeeded": 30}
    assert set(site.times_paid().values()) == {1}
    (bill,) = site.client.bill("rolling")
    assert bill["settled"] == sum(Decimal(line["amount"]) for line in site.simulator.bill()["lines"])
    assert process.poll() is None
    assert site.pids()["worker-1"] == process.pid


@needs_expansion
def test_everything_that_sums_up_money_works_before_the_migration(behind: tuple[Site, Engine]) -> None:
    site, _ = behind
    site.enqueue("early", bloom=1)
    assert site.client.bill() == []
    assert site.client.bill("early") == []
    assert site.client.figures() == []
    assert [target.act for target in site.client.plan_erase(batch="early").targets] == []


def test_a_migration_that_takes_something_away_waits_for_running_workers(
    owner: tuple[Stack, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, engine = owner
    monkeypatch.setattr("shared.db.migrating.expands", lambda _revision: False)
    rows.rows(engine, "INSERT INTO worker (name, lock_key, slots) VALUES ('w', 1, 2)")
    with pytest.raises(SchemaError, match=rf"migration {NEWEST} .* stop all workers first \(1 run: w\)"):
        migrating.migrate(engine)
    rows.rows(engine, "UPDATE worker SET last_tick_at = now() - interval '1 minute'")
    assert migrating.migrate(engine) == NEWEST


def test_code_from_before_an_expansion_starts_on_the_database_from_after_it(
    owner: tuple[Stack, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, engine = owner
    monkeypatch.setattr("shared.db.migrating.expands", lambda revision: revision == NEWEST)
    migrating.migrate(engine)
    known = schema.known_revisions()[:-1]
    for place in ("shared.db.schema.known_revisions", "shared.db.migrating.known_revisions"):
        monkeypatch.setattr(place, lambda: known)
    schema.check(engine)
    assert schema.is_current(engine)
    with Client(stack.endpoints.database_url) as client:
        assert client.batches() == []
    assert migrating.migrate(engine) == BEFORE
    assert rows.rows(engine, "SELECT version_num FROM alembic_version") == [(NEWEST,)]
    monkeypatch.setattr("shared.db.schema.known_revisions", lambda: known[:-1])
    with pytest.raises(SchemaError, match="newer than this code"):
        schema.check(engine)
