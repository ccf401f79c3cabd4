"""What runs for each job, tick or page touches as many pages of memory at 200,000 jobs as at 20,000.

Before each statement runs, PostgreSQL is asked to run it with a count of the buffers it touches, and to forget it.
What a worker asks is run with a plan that knows no values, as a worker has it.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Connection, event, text
from sqlmodel import SQLModel

from ops.stack import Endpoints
from shared.db import accounts, folding, tick_question, workers
from shared.db.engine import PLAN_ONCE, Engine, open_engine, transaction
from shared.db.jobs import bulk, claims, retry, steering
from shared.db.jobs.bulk import Which
from shared.db.jobs.cancel import cancel
from shared.db.jobs.transitions import Claim, Move, give_back, move
from shared.db.payments import caps, drift, intents, spending, submissions
from shared.db.payments.intents import PaymentTerms
from shared.db.payments.submissions import Answer
from shared.db.read import batch_page, by_metadata, counts, ending, held, job_details, pages, usual, waits
from shared.db.read.batch_page import Filter
from shared.db.read.pages import FinishedCursor
from shared.db.read.status import status
from shared.db.read.story import story
from shared.ids import new_id
from shared.lifecycle import JobState, Outcome, Stage
from tests.support import rows
from tests.support.counted import add_up

SMALL, LARGE = 20_000, 200_000
# One level more of an index is no growth, each time that a statement goes down it.
MOST, LEVELS = 1.5, 8
_MEASURED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "(SELECT")
_UNMEASURED = ("set_config", "pg_advisory", "pg_try_advisory")
# Ids in the order of numbers, as ids of jobs are in the order of time.
_REQUEST = '{"n": 1, "prompt": "a harbour"}'
_OF_TEN = ("queued", "queued", "queued", "on hold", "failed", *["succeeded"] * 5)
_JOBS = text("""
INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images, state, on_hold,
  fair_position, due_at, deadline_at, collect_until, error_code, finished_at)
SELECT CAST(lpad(to_hex(number), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(number), 12, '0') AS uuid), batch.id,
  'row-' || number, 'bloom', 'bloom', CAST(:request AS jsonb), '', 1,
  CASE of_ten WHEN 'on hold' THEN 'queued' ELSE of_ten END, of_ten = 'on hold', number,
  CASE WHEN of_ten = 'on hold' THEN now() + interval '1 day' WHEN of_ten = 'queued' THEN now() END,
  now() + interval '1 day', now() + interval '7 days',
  CASE of_ten WHEN 'on hold' THEN 'batch_cap_reached' WHEN 'failed' THEN 'provider_rejected' END,
  CASE WHEN of_ten IN ('failed', 'succeeded') THEN now() END
FROM batch, (SELECT number, (CAST(:of_ten AS text[]))[1 + number % 10] AS of_ten
  FROM generate_series(CAST(:first AS integer), :last) AS number) AS numbered
WHERE batch.name = 'b'
""")
_CALLS = text("""
INSERT INTO submission (id, job_id, epoch, batch_id, account, key_id, sender, sender_lock, opened_at, send_by,
  visible_by, outcome, answered_at, upstream_id, reserved, settled, unit)
SELECT id, id, 1, batch_id, account, 'k', 'w', 1, now() - interval '2 hours', now(), now(), 'accepted', now(),
  'up-' || custom_id, 2, 2, 'credit' FROM job WHERE state = 'succeeded' AND id BETWEEN :low AND :high
""")
_IMAGES = text("""
INSERT INTO image (job_id, index, submission_id, account, upstream_id, state, bucket, key, sha256, stored_at)
SELECT job_id, 0, id, account, upstream_id, 'stored', 'b', CAST(id AS text), '', now() FROM submission
WHERE job_id BETWEEN :low AND :high
""")
_LEDGER = text("""
INSERT INTO ledger (at, submission_id, job_id, account, kind, unit, settled)
SELECT opened_at, id, job_id, account, 'settle', unit, settled FROM submission WHERE job_id BETWEEN :low AND :high
""")
Scenario = Callable[[Connection], object]
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
PARAMETER = re.compile(r"%\((\w+)\)s")
_TYPES = {int: "integer", float: "double precision", bool: "boolean", Decimal: "numeric"}
"""What the driver says of a value's type; of others it says nothing."""
PLANNED = "planned once"
"""The mark of a connection whose plans are made as a worker's are."""


def grow(engine: Engine, first: int, last: int) -> None:
    ids = {"low": _id(first), "high": _id(last)}
    with transaction(engine) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'"))
        connection.execute(_JOBS, {"of_ten": list(_OF_TEN), "first": first, "last": last, "request": _REQUEST})
        connection.execute(_CALLS, ids)
        add_up(connection)
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # foreign keys that hold anyway
        connection.execute(_IMAGES, ids)
        connection.execute(_LEDGER, ids)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        # Of every row: a sample of the larger tables may miss the forty claimed jobs, and is planned for otherwise.
        connection.execute(text("SET default_statistics_target = 1000"))
        connection.execute(text("VACUUM ANALYZE"))


@pytest.fixture
def superuser(endpoints: Endpoints, database_url: str) -> Iterator[Engine]:
    """One who may put foreign keys out of force: checking 400,000 of them would take most of the test."""
    url = endpoints.admin_url.rpartition("/")[0] + "/" + database_url.rpartition("/")[2]
    opened = open_engine(SecretStr(url), application="tests", pool_size=1)
    yield opened
    opened.dispose()


def _id(number: int) -> str:
    return f"{number:08x}-0000-7000-8000-{number:012x}"


def a_few_of_each(engine: Engine) -> None:
    """Work that is due in each stage, as many however large the tables are."""
    with transaction(engine) as connection:
        accounts.register(connection, [rows.account_row("bloom", concurrency=1000)])
    rows.add(engine, [rows.new_job(f"due-{number}") for number in range(60)], caps={"bloom": Decimal(10**9)})
    rows.rows(engine, "UPDATE account SET daily_cap = 1000000000")
    opened = rows.open_intents(engine, rows.claim(engine, count=40))
    for number, intent in enumerate(opened):
        if number % 4 == 0:
            step = Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 0, code="answer_lost")
            rows.settle(engine, intent, Answer(Outcome.UNKNOWN), step)
        elif number % 4 == 1:
            rows.settle(engine, intent, rows.accepted(), Move(intent.claim, JobState.SUBMITTING, JobState.PENDING, 0))
        elif number % 4 == 2:
            step = Move(intent.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 0)
            rows.settle(engine, intent, rows.accepted(), step)


def pay(connection: Connection) -> None:
    """The whole road of a few jobs: claimed, begun, paid for, answered, ended."""
    wanted = claims.claim(connection, Stage.SUBMIT, "bloom", count=3, worker="a", lease_seconds=60).together
    claims.begin(connection, "bloom", wanted, states=(JobState.QUEUED,), worker="a")
    terms = PaymentTerms(
        price=lambda _request, _count: Decimal(2),
        allow_unknown_price=False,
        send_within_seconds=20,
        lease_seconds=60,
        quiet_seconds=60,
    )
    asked = {claim: new_id() for claim in wanted}
    opened = intents.open_intents(connection, "bloom", asked, sender=rows.SENDER, terms=terms)
    assert len(opened) == 3
    for intent in opened:
        submissions.record(connection, intent.submission_id, rows.accepted())
        move(connection, [Move(intent.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 60)], actor="a")
        give_back(connection, [intent.claim], states=(JobState.TRANSFERRING,))
        move(connection, [Move(intent.claim, JobState.TRANSFERRING, JobState.SUCCEEDED)], actor="a")


def tick(connection: Connection) -> None:
    accounts.lock(connection, "bloom", wait=True)
    workers.heartbeat(connection, name="w", lock_key=1, slots=4, stuck_seconds=0)
    tick_question.to_do(connection, ["bloom"], me="w")
    workers.free_claims_of_dead(connection, "w")
    claims.in_hand(connection, "bloom")
    claims.paying(connection)
    claims.past_deadline(connection)
    claims.abandoned(connection, grace_seconds=3600)
    accounts.mark_served(connection, ["bloom"])
    accounts.unserved(connection)


def claim_each_stage(connection: Connection) -> None:
    for stage in Stage:
        assert claims.claim(connection, stage, "bloom", count=8, worker="a", lease_seconds=60).together


def find(connection: Connection) -> None:
    for name in (_id(7), _id(7)[:7], "row-7", "b/row-7", "no such job"):
        pages.find_jobs(connection, name)


def look_at_pages(connection: Connection) -> None:
    for state in (None, "queued", "on_hold", "failed", "checking", "in_doubt", "transferring"):
        assert pages.jobs(connection, "b", state=state, limit=50)
    assert pages.batches(connection, limit=50)
    assert pages.finished(connection, FinishedCursor(datetime(2020, 1, 1, tzinfo=UTC), bulk.NIL), limit=50)
    assert pages.results(connection, "b", limit=50).rows


def look_at_the_dashboard(connection: Connection) -> None:
    head = batch_page.head(connection, "b")
    assert head is not None
    spending.bill_of(connection, head.id)
    spending.days(connection)
    pages.newest_batches(connection, limit=40)
    held.held(connection)
    assert pages.newest_failures(connection, limit=200)
    for which in (
        Filter(metadata=("sku", "7")),
        Filter(),
        Filter("failed"),
        Filter(code="provider_rejected"),
        Filter(word="row-7"),
        Filter(word="?"),
    ):
        batch_page.jobs(connection, head.id, which)


def count(connection: Connection) -> None:
    for batch in (None, "b"):
        counts.by_state(connection, batch)
        counts.by_error(connection, batch)
        spending.bill(connection, batch)


def let_go(connection: Connection) -> None:
    caps.requeue_affordable(connection, "bloom", "bloom")
    caps.requeue_priced(connection, ["bloom"])
    caps.in_line(connection, "bloom", batch_of(connection))


def batch_of(connection: Connection) -> Any:
    return connection.execute(text("SELECT id FROM batch")).scalar_one()


def retry_some(connection: Connection) -> None:
    for some in bulk.chunks(bulk.page(connection, Which(batch="b"), (JobState.FAILED,), limit=100)):
        plan = retry.plan(connection, polled=["bloom"], ids=some)
        assert len(retry.as_shown(connection, plan.targets, polled=["bloom"]).targets) == 100


def one_claim(connection: Connection) -> Claim:
    return claims.claim(connection, Stage.SUBMIT, "bloom", count=1, worker="a", lease_seconds=60).together[0]


def list_jobs(connection: Connection) -> None:
    """What `jobs`, `images` and the end of a batch read of a page of jobs."""
    ids = [row["id"] for row in pages.jobs(connection, "b", state="queued", limit=50)]
    assert len(job_details.of_jobs(connection, ids)) == len(waits.of_jobs(connection, ids)) == 50
    assert ending.of_batch(connection, "b").reasons
    assert pages.metadata_keys(connection, "b", limit=50).after
    by_metadata.jobs(connection, {"sku": "7"}, batch="b", limit=50)


def steer(connection: Connection) -> None:
    assert steering.set_priority(connection, "b", 1).jobs == steering.CHUNK
    assert steering.set_deadline(connection, "b", 3600).jobs == steering.CHUNK
    assert steering.hold(connection, "b")
    assert steering.put_batch_on_hold(connection, "b", actor="person") == steering.CHUNK
    assert steering.release(connection, "b")
    assert steering.return_to_line(connection, "b", deadline_seconds=3600) == steering.CHUNK


SCENARIOS: dict[str, Scenario] = {
    "lists": list_jobs,
    "steer": steer,
    "pay": pay,
    "tick": tick,
    "claims": claim_each_stage,
    "find": find,
    "pages": look_at_pages,
    "dashboard": look_at_the_dashboard,
    "counts": count,
    "caps": let_go,
    "retry": retry_some,
    "story": lambda connection: story(connection, pages.find_jobs(connection, "row-7")[0]),
    "waits": lambda connection: waits.of_batch(connection, "b"),
    "usual": usual.usual,
    "status": status,
    "cancel": lambda connection: cancel(connection, batch="b", actor="person"),
    "balance": lambda connection: drift.record(connection, "bloom", Decimal(7)),
    "fold": folding.fold,
    "fail": lambda connection: move(
        connection, [Move(one_claim(connection), JobState.QUEUED, JobState.FAILED, code="x")], actor="a"
    ),
}


WORKERS: frozenset[str] = frozenset({"pay", "tick", "claims", "caps", "balance", "fold", "fail"})
"""What a worker runs."""


class Touched(NamedTuple):
    buffers: int
    descents: int
    """How often it went down an index."""


def touched_by(plan: dict[str, Any]) -> Touched:
    return Touched(int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]), descents_of(plan))


def descents_of(plan: dict[str, Any]) -> int:
    here = plan.get("Index Searches", plan["Actual Loops"]) if "Index Name" in plan else 0  # PostgreSQL 18 counts them
    return int(here) + sum(map(descents_of, plan.get("Plans", ())))


def has_grown(before: Touched, after: Touched) -> bool:
    return after.buffers > max(MOST * before.buffers, before.buffers + max(LEVELS, before.descents))


@pytest.fixture
def measured(engine: Engine) -> Iterator[dict[str, Touched]]:
    """Statement -> the most that one execution of it touched."""
    found: dict[str, Touched] = {}

    def measure(
        connection: Connection,
        _cursor: Any,
        statement: str,
        parameters: Any,
        _context: Any,
        _many: bool,  # noqa: FBT001
    ) -> None:
        plain = statement.strip()
        if not plain.startswith(_MEASURED) or any(word in plain for word in _UNMEASURED):
            return
        driver = connection.connection.driver_connection
        assert driver is not None
        explain = _explained_once if connection.info.get(PLANNED) else _explained
        with driver.cursor() as cursor:
            cursor.execute("SAVEPOINT measured")
            told = explain(cursor, statement, parameters)
            cursor.execute("ROLLBACK TO SAVEPOINT measured")
        plan = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
        found[plain] = max(found.get(plain, Touched(0, 0)), touched_by(plan))

    event.listen(engine, "before_cursor_execute", measure)
    yield found
    event.remove(engine, "before_cursor_execute", measure)


def _explained(cursor: Any, statement: str, parameters: Any) -> Any:
    cursor.execute(f"{EXPLAIN} {statement}", parameters)
    return cursor.fetchone()[0]


def _explained_once(cursor: Any, statement: str, parameters: Any) -> Any:
    """Explain the plan that is kept: a prepared statement has it, and EXPLAIN takes its values only in words."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    numbered = PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement).replace("%%", "%")
    types = ", ".join(_TYPES.get(type(parameters[name]), "unknown") for name in names)
    cursor.execute(f"PREPARE measured {f'({types})' if names else ''} AS {numbered}", prepare=False)
    given = sql.SQL(", ").join(sql.Literal(parameters[name]) for name in names).as_string(cursor)
    cursor.execute(f"{EXPLAIN} EXECUTE measured" + (f"({given})" if names else ""), prepare=False)
    told = cursor.fetchone()[0]
    cursor.execute("DEALLOCATE measured")
    return told


def walk(engine: Engine, superuser: Engine, measured: dict[str, Touched]) -> dict[str, Touched]:
    """Run every scenario four times, in both orders, and return the least that each statement touched.

    What a scenario rolls back leaves dead rows and entries, which those after it touch.
    """
    least: dict[str, Touched] = {}
    for order in (list(SCENARIOS), list(SCENARIOS)[::-1]) * 2:
        clean(superuser)
        measured.clear()
        for name in order:
            with engine.connect() as connection, connection.begin() as begun:
                connection.info[PLANNED] = name in WORKERS
                if name in WORKERS:
                    plan_once(connection)
                SCENARIOS[name](connection)
                begun.rollback()
        least = {statement: min(touched, least.get(statement, touched)) for statement, touched in measured.items()}
    return least


def plan_once(connection: Connection) -> None:
    """Have this transaction's statements planned as a worker's are."""
    for setting, value in PLAN_ONCE.items():
        connection.execute(text("SELECT set_config(:setting, :value, true)"), {"setting": setting, "value": value})


def clean(superuser: Engine) -> None:
    """Remove dead rows, and build the indexes anew."""
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM (TRUNCATE off)"))
        connection.execute(text("REINDEX SCHEMA genqueue"))


def stop_autovacuum(superuser: Engine) -> None:
    """Let nothing change the tables between two measurements, sooner on an idle machine and later on a busy one."""
    with transaction(superuser) as connection:
        for table in SQLModel.metadata.sorted_tables:
            connection.execute(text(f'ALTER TABLE "{table.name}" SET (autovacuum_enabled = false)'))


def test_no_statement_of_a_job_a_tick_or_a_page_touches_more_in_a_larger_database(
    engine: Engine, superuser: Engine, measured: dict[str, Touched]
) -> None:
    stop_autovacuum(superuser)
    a_few_of_each(engine)
    grow(superuser, 1, SMALL)
    before = walk(engine, superuser, measured)
    grow(superuser, SMALL + 1, LARGE)
    after = walk(engine, superuser, measured)
    assert len(before) > 50
    assert before.keys() == after.keys()
    grown = {
        statement[:60]: (before[statement], touched)
        for statement, touched in after.items()
        if has_grown(before[statement], touched)
    }
    assert grown == {}
