"""Roles of the database: each may do what it is for, and PostgreSQL itself refuses the rest."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy.exc import ProgrammingError

from ops.cli.metrics import registry_of
from ops.dashboard.judging import judge
from ops.simulator import Simulator
from ops.stack import Endpoints, Home, Stack, database_alone
from producer import Client
from shared.db import migrating, roles, tokens
from shared.db.engine import Engine, open_engine, transaction
from shared.db.schema import SchemaError
from shared.db.tokens import TokenTerms
from shared.retention import parse_retention
from shared.tokens import BACKEND, Scope
from tests.integration.test_retention import prune_all
from tests.support import aged, held, rows
from tests.support.api import HARBOUR, bearer, serving
from tests.support.browsing import browsing
from tests.support.command import genqueue
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.outcome import ended
from tests.support.servers import Databases

_NUMBERS = itertools.count(1)
DENIED = "permission denied|must be owner"
As = Callable[[str], str]


@contextmanager
def role(databases: Databases, options: str = "") -> Iterator[str]:
    """Make a role that can log in with its own name as the password."""
    name = f"tester_{next(_NUMBERS)}"
    databases._admin(f"CREATE ROLE {name} LOGIN {options} PASSWORD '{name}'")
    try:
        yield name
    finally:
        databases._admin(f"DROP ROLE {name}")


def as_role(url: str, name: str) -> str:
    return f"postgresql://{name}:{name}@{url.rpartition('@')[2]}"


@pytest.fixture
def named(engine: Engine, databases: Databases, database_url: str) -> Iterator[As]:
    """Kind of role -> a URL with which one connects that was granted what its kind needs."""
    made = {}
    for kind in roles.KINDS:
        name = f"tester_{next(_NUMBERS)}"
        databases._admin(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        made[kind] = name
    roles.grant(engine, made)
    yield lambda kind: as_role(database_url, made[kind])
    for name in made.values():
        disown(databases, database_url, name)
        databases._admin(f"DROP ROLE {name}")


def disown(databases: Databases, url: str, name: str) -> None:
    """Take from a role what it was granted in one database, so that it can be dropped."""
    admin = databases.endpoints.admin_url.rpartition("/")[0]
    with psycopg.connect(f"{admin}/{url.rpartition('/')[2]}", autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {name}".encode())


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = open_engine(SecretStr(url), application="tests", pool_size=2)
    yield engine
    engine.dispose()


def refused(engine: Engine, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=DENIED):
        rows.rows(engine, statement)


TABLES = ("account", "batch", "job", "submission", "image", "job_event", "ledger", "ledger_day", "worker", "purpose")
STRUCTURE = (
    "DROP TABLE job",
    "ALTER TABLE job ADD COLUMN more text",
    "TRUNCATE job_event",
    "CREATE TABLE more ()",
    "CREATE TRIGGER t BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "UPDATE alembic_version SET version_num = '0001'",
    "CREATE SCHEMA more",
)


@pytest.mark.parametrize("kind", roles.KINDS)
def test_nobody_but_the_owner_changes_a_table(kind: str, named: As) -> None:
    with opened(named(kind)) as mine:
        for statement in STRUCTURE:
            refused(mine, statement)


@pytest.mark.parametrize("kind", ["worker", "producer", "viewer"])
def test_the_state_of_the_queue_and_its_metrics_need_no_more_than_to_read(kind: str, engine: Engine, named: As) -> None:
    rows.add(engine, [rows.new_job("a")], batch="spring")
    with Client(named(kind)) as client:
        assert client.status().totals == {"queued": 1}
        assert client.waits("spring")
    with opened(named(kind)) as mine:
        assert registry_of(mine).get_sample_value("genqueue_database_up") == 1


def test_a_producer_enqueues_caps_changes_policies_and_reads(engine: Engine, named: As) -> None:
    held.held(engine, batch="spring")
    rows.add(engine, [rows.new_job("old")], batch="spring")
    with Client(named("producer")) as client:
        client.enqueue([{"provider": "bloom", "prompt": "a harbour"}], batch="spring", max_cost=["bloom=3"])
        client.enqueue([{"provider": "getimg", "prompt": "a tram", "model": "seedream-5-lite"}], batch="new")
        assert client.cap("spring", ["bloom=4"]) == {"bloom": Decimal(4)}
        client.set_policy("spring", "resend")
        assert client.totals("spring") == {"queued": 2, "in_doubt": 1}
        assert [row["held"] for row in client.bill("spring")] == [2]
        assert list(client.results("spring"))
        assert client.story(client.find_job("spring/old"))["job"]["state"] == "queued"


def test_the_api_as_a_producer_adds_jobs_and_says_that_its_role_decides_nothing(engine: Engine, named: As) -> None:
    with Client(engine.url.render_as_string(hide_password=False)) as owner:
        header = bearer(owner, caps={"bloom": Decimal(3)})
    with Client(named("producer")) as client, serving(client) as http:
        http.headers.update(header)
        assert http.post("/v1/jobs", json=HARBOUR).status_code == 202
        assert http.get("/v1/batches/shop").json()["jobs"] == 1
        denied = http.post("/v1/batches/shop:cancel")
        assert (denied.status_code, denied.json()["code"]) == (403, "database_role")


def test_a_producer_checks_tokens_and_counts_what_they_order_and_makes_none(engine: Engine, named: As) -> None:
    terms = TokenTerms("shop", frozenset(BACKEND), {"bloom": Decimal(3)})
    with transaction(engine) as connection:
        secret = tokens.create(connection, terms)[1].get_secret_value()
    with opened(named("producer")) as mine:
        with transaction(mine) as connection:
            token = tokens.find(connection, secret)
            assert token is not None
            tokens.used(connection, token)
            tokens.spend(connection, token, {"bloom": Decimal(2)})
            assert tokens.spent(connection, token) == {"bloom": 2}
        refused(mine, "INSERT INTO token SELECT * FROM token")
        refused(mine, "UPDATE token SET scopes = '{admin}'")
        refused(mine, "UPDATE token SET caps = NULL")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE submission SET outcome = 'rejected'",
        "DELETE FROM submission",
        "INSERT INTO submission SELECT * FROM submission",
        "UPDATE ledger SET held = 0",
        "DELETE FROM ledger",
        "UPDATE job SET state = 'queued'",
        "UPDATE job SET request = '{}'",
        "DELETE FROM job",
        "UPDATE image SET link = 'https://example.com'",
        "UPDATE account SET paused_at = NULL",
        "UPDATE job_event SET note = NULL",
        "DELETE FROM batch",
        "UPDATE purpose SET kind = 'trial'",
    ],
)
def test_a_producer_cannot_change_what_was_paid_or_what_came_of_it(statement: str, engine: Engine, named: As) -> None:
    held.held(engine)
    before = held.everything(engine)
    with opened(named("producer")) as mine:
        refused(mine, statement)
    assert held.everything(engine) == before


def test_a_viewer_sees_every_page_of_the_dashboard_and_signs_in_with_a_token(
    engine: Engine, named: As, client: Client, tmp_path: Path
) -> None:
    (job, *_) = held.held(engine, 2)
    token = client.create_token(TokenTerms("reader", frozenset({Scope.ADMIN}), None))[1].get_secret_value()
    with (
        opened(named("viewer")) as mine,
        browsing(mine, tmp_path, judge=judge(mine, "the-dashboards-own-token")) as browser,
    ):
        assert browser.sign_in(token).status_code == 303
        for path in ("/", "/batches", "/batch?name=b", f"/job/{job}", "/held", "/failures", "/accounts", "/money"):
            assert browser.get(path).status_code == 200, path


def test_a_viewer_reads_everything_and_writes_nothing(engine: Engine, named: As) -> None:
    rows.add(engine, [rows.new_job("a")])
    with Client(named("viewer")) as client:
        assert client.totals("b") == {"queued": 1}
        assert client.prune_outlook().old == []
        with pytest.raises(ProgrammingError, match=DENIED):
            client.enqueue([{"provider": "bloom", "prompt": "a harbour"}], batch="b")
    with opened(named("viewer")) as mine:
        for table in TABLES:
            assert rows.rows(mine, f"SELECT count(*) FROM {table}")  # noqa: S608 - our names
            refused(mine, f"DELETE FROM {table}")  # noqa: S608 - our names


def test_a_worker_runs_a_batch_to_its_end_and_prunes_and_a_person_resolves_as_it(
    engine: Engine, named: As, endpoints: Endpoints, simulated: Simulator
) -> None:
    aged.ended(engine)
    settings = settings_for(named("worker"), endpoints, simulated.url)
    with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
        client.enqueue([{"provider": "bloom", "prompt": "a harbour"}], batch="new")
        drain(runtime, ended(client, "new"))
        assert client.totals("new") == {"succeeded": 1}
        assert prune_all(runtime.engine, parse_retention("succeeded=90d")) == 1
        (job,) = held.held(engine, account="openrouter", batch="doubt")
        assert client.resolve(job, resend=False, charged=Decimal(1)) == "failed"
        done = client.carry_out_erase(client.plan_erase(batch="doubt", results=True))
        assert done.jobs.total() == 1


def test_a_worker_cannot_change_a_line_of_the_ledger(engine: Engine, named: As) -> None:
    held.held(engine)
    with opened(named("worker")) as mine:
        refused(mine, "UPDATE ledger SET held = 0")


def test_a_role_that_is_granted_less_than_before_loses_the_rest(
    engine: Engine, databases: Databases, database_url: str, named: As
) -> None:
    url = named("worker")
    name = url.partition("://")[2].partition(":")[0]
    roles.grant(engine, {"viewer": name})
    with opened(url) as mine:
        refused(mine, "DELETE FROM job")
        assert rows.rows(mine, "SELECT * FROM job") == []


def test_tables_of_a_later_version_are_readable_without_another_grant(engine: Engine, named: As) -> None:
    rows.rows(engine, "CREATE TABLE later (id integer)")
    with opened(named("viewer")) as viewer, opened(named("worker")) as worker:
        assert rows.rows(viewer, "SELECT * FROM later") == []
        refused(viewer, "INSERT INTO later VALUES (1)")
        rows.rows(worker, "INSERT INTO later VALUES (1)")


def test_a_role_without_a_grant_is_told_who_gives_it(engine: Engine, databases: Databases, database_url: str) -> None:
    with role(databases) as name, pytest.raises(SchemaError, match="its owner runs `genqueue migrate --grant`"):
        Client(as_role(database_url, name))


def test_a_superuser_an_owner_and_nobody_are_no_roles_to_grant_to(engine: Engine, databases: Databases) -> None:
    with role(databases, "SUPERUSER") as name, pytest.raises(SchemaError, match="is a superuser"):
        roles.grant(engine, {"worker": name})
    with pytest.raises(SchemaError, match="owns the tables"):
        roles.grant(engine, {"worker": "genqueue_owner"})
    with pytest.raises(SchemaError, match="there is no role 'nobody'"):
        roles.grant(engine, {"worker": "nobody"})


def test_who_does_not_own_the_tables_cannot_migrate_and_is_told_so(databases: Databases) -> None:
    with databases.fresh(migrated=False) as url, opened(url) as owner:
        migrating.migrate(owner, to="0012")
        with role(databases) as name:
            roles.grant(owner, {"worker": name})
            with opened(as_role(url, name)) as mine, pytest.raises(SchemaError, match="as their owner"):
                migrating.migrate(mine)
            disown(databases, url, name)


def test_the_command_grants_and_refuses_what_is_no_kind(
    engine: Engine, databases: Databases, database_url: str
) -> None:
    env = {"GENQUEUE_DATABASE_URL": database_url}
    with role(databases) as name:
        ran = genqueue("migrate", "--grant", f"viewer={name}", env=env)
        assert (ran.code, ran.err) == (0, f"the schema is current; {name} may do what a viewer needs\n")
        with Client(as_role(database_url, name)) as client:
            assert client.batches() == []
        disown(databases, database_url, name)
    for wrong in ("viewer", "king=me", "viewer="):
        assert genqueue("migrate", "--grant", wrong, env=env).code == 2


def _superuser(url: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute("SELECT current_user, usesuper FROM pg_user WHERE usename = current_user").fetchone()


def test_the_embedded_stack_works_as_nobody_special(stack: Stack) -> None:
    assert _superuser(stack.endpoints.database_url) == ("genqueue_app", False)
    assert _superuser(stack.endpoints.owner_url) == ("genqueue_owner", False)
    assert "admin" not in "".join(stack.endpoints.environment())


def test_a_home_whose_tables_a_superuser_owned_is_taken_over_by_its_owner(tmp_path: Any) -> None:
    home = Home(tmp_path / "home")
    with database_alone(home) as endpoints:
        old = replace(endpoints, owner_url=endpoints.admin_url)
        with opened(old.owner_url) as before:
            rows.rows(before, "ALTER DATABASE genqueue OWNER TO genqueue")
            rows.rows(before, "DROP OWNED BY genqueue_app")
            public = open_engine(SecretStr(old.owner_url), application="tests", schema="public")
            migrating.migrate(public, to="0012")
            rows.add(public, [rows.new_job("a")])
            public.dispose()
    env = {"GENQUEUE_HOME": str(home.path)}
    ran = genqueue("batches", env=env, cwd=tmp_path)
    assert ran.code == 0, ran.err
    with database_alone(home) as endpoints, Client(endpoints.database_url) as client:
        assert client.totals("b") == {"queued": 1}


def test_a_caller_enqueues_by_sql_and_can_do_nothing_else(engine: Engine, named: As) -> None:
    rows.add(engine, [rows.new_job("old")])
    handed = 'SELECT added FROM genqueue.enqueue(\'shop\', \'[{"custom_id": "a", "prompt": "x"}]\', :options)'
    with opened(named("caller")) as mine:
        (row,) = rows.rows(mine, handed.replace(":options", '\'{"provider": "bloom"}\''))
        assert row.added
        for table in (*TABLES, "inbox", "endpoint", "delivery", "token"):
            refused(mine, f"SELECT 1 FROM {table}")  # noqa: S608 - names of our own tables
    with opened(named("viewer")) as mine:
        refused(mine, "SELECT 1 FROM genqueue.enqueue('shop', '[]')")
