"""Evidence that PostgreSQL does not take lies on the disk, its job is held with words, the next start records it."""

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from structlog.testing import capture_logs

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db import workers
from shared.db.engine import Engine, transaction
from shared.db.payments.submissions import Answer, BoughtImage
from shared.lifecycle import ImageState, Outcome
from shared.settings import Settings
from tests.support import rows
from tests.support.command import genqueue
from tests.support.drain import drain, runtime_for
from tests.support.outcome import BLOOM, GETIMG, only, paid, paid_posts
from worker import event_loop
from worker.evidence.evidence_files import Evidence
from worker.evidence.recommit import recommit_leftovers
from worker.runtime import Runtime

REFUSAL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.outcome = 'accepted' THEN RAISE EXCEPTION 'a secret value' USING ERRCODE = '{}'; END IF;
  RETURN NEW;
END $$
"""
TRIGGER = "CREATE TRIGGER refusing BEFORE UPDATE ON submission FOR EACH ROW EXECUTE FUNCTION refuse()"


@pytest.fixture
def runtime(settings: Settings, endpoints: Endpoints, tmp_path: Path) -> Iterator[Runtime]:
    with runtime_for(settings.model_copy(update={"spool_dir": tmp_path}), endpoints) as opened:
        yield opened


def refuse(engine: Engine, sqlstate: str) -> None:
    rows.rows(engine, REFUSAL.format(sqlstate))
    rows.rows(engine, TRIGGER)


def told(logs: Sequence[Any]) -> set[str]:
    """Return the SQLSTATEs that the logs warn of."""
    return {line["sqlstate"] for line in logs if line["event"] == "write_waits"}


def cure(engine: Engine) -> bool:
    rows.rows(engine, "DROP TRIGGER refusing ON submission")
    return True


def set_aside(client: Client) -> Callable[[], bool]:
    return lambda: bool(only(client)["job"]["state"] == "in_doubt")


def recommit(runtime: Runtime) -> None:
    """Do what a worker does when it starts."""

    async def work() -> None:
        async with anyio.create_task_group() as group:
            runtime.start(group)
            await recommit_leftovers(runtime)
            group.cancel_scope.cancel()

    event_loop.run(work)


def files(runtime: Runtime) -> list[Path]:
    return sorted((runtime.spool_dir / "evidence").glob("*"))


@pytest.mark.parametrize("provider", [BLOOM, GETIMG], ids=["polled", "linked"])
@pytest.mark.parametrize("sqlstate", ["22003", "23514", "54000"])
def test_a_refusal_for_good_holds_the_job_and_the_next_start_records_what_was_bought(
    sqlstate: str,
    provider: dict[str, str],
    client: Client,
    runtime: Runtime,
    engine: Engine,
    simulated: Simulator,
) -> None:
    client.enqueue([provider], batch="b")
    refuse(engine, sqlstate)
    drain(runtime, set_aside(client))
    story = only(client)["job"]
    assert story["error_code"] == "answer_unreadable"
    (file,) = files(runtime)
    assert sqlstate in story["error"]
    assert str(file) in story["error"]
    assert "secret" not in story["error"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    rows.rows(engine, "DROP TRIGGER refusing ON submission")
    recommit(runtime)
    assert files(runtime) == []
    drain(runtime, lambda: only(client)["job"]["state"] == "succeeded")
    assert paid(simulated) == paid_posts(simulated) == 1


def test_what_the_next_start_cannot_record_either_stays(client: Client, runtime: Runtime, engine: Engine) -> None:
    client.enqueue([BLOOM], batch="b")
    refuse(engine, "54000")
    drain(runtime, set_aside(client))
    before = [file.read_bytes() for file in files(runtime)]
    recommit(runtime)
    assert [file.read_bytes() for file in files(runtime)] == before
    assert len(before) == 1


@pytest.mark.parametrize("sqlstate", ["P0001", "53100", "42501"])
def test_a_fault_that_may_pass_is_tried_until_it_has_and_two_such_jobs_stop_nobody(
    sqlstate: str, client: Client, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    client.enqueue([BLOOM] * 2, batch="stuck")
    refuse(engine, sqlstate)

    with capture_logs() as logs:
        drain(runtime, lambda: len(files(runtime)) == 2 and bool(told(logs)) and cure(engine))
        drain(runtime, lambda: client.totals("stuck") == {"succeeded": 2})
    assert told(logs) == {sqlstate}
    assert "secret" not in json.dumps(logs, default=str)
    assert files(runtime) == []
    assert paid(simulated) == 2


def test_what_is_refused_of_one_job_keeps_no_neighbour_from_what_was_learned(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    client.enqueue([{**BLOOM, "custom_id": f"c{number}"} for number in range(4)], batch="b")
    rows.rows(
        engine,
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF NEW.state = 'ready' AND NEW.job_id = (SELECT id FROM job WHERE custom_id = 'c2') THEN
            RAISE EXCEPTION 'no' USING ERRCODE = '22003';
          END IF; RETURN NEW;
        END $$
        """,
    )
    rows.rows(engine, TRIGGER.replace("submission", "image"))
    drain(runtime, lambda: client.totals("b").get("succeeded") == 3)
    rows.rows(engine, "DROP TRIGGER refusing ON image")
    rows.rows(engine, "UPDATE job SET due_at = now() WHERE custom_id = 'c2'")
    drain(runtime, lambda: client.totals("b").get("succeeded") == 4)


LINK = "https://cdn.example/picture?sig=secret"
ANSWER = Answer(
    Outcome.ACCEPTED,
    http_status=200,
    upstream_id="up",
    images=(BoughtImage(0, ImageState.READY, "up-0", LINK), BoughtImage(1, ImageState.FAILED, error_code="x")),
    quiet_seconds=1.5,
)


@pytest.fixture
def evidence(runtime: Runtime) -> Evidence:
    return runtime.evidence


def test_evidence_comes_back_as_it_was_kept(evidence: Evidence) -> None:
    name = uuid4()
    evidence.of(name, ANSWER).keep()
    assert evidence.leftovers() == [name]
    assert evidence.on_disk(name) == ANSWER
    evidence.of(name, ANSWER, place="there").drop()
    assert evidence.leftovers() == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", "[" * 100_000, '{"version": 1, "answer": {}}', "x" * 5_000_000])
def test_a_file_that_we_did_not_write_is_no_evidence(text: str, evidence: Evidence) -> None:
    name = uuid4()
    evidence.of(name, ANSWER).keep()
    evidence.path(name).write_text(text)
    assert evidence.on_disk(name) is None


def test_evidence_under_another_name_or_that_others_may_write_or_behind_a_link_is_none(evidence: Evidence) -> None:
    first, second, third = uuid4(), uuid4(), uuid4()
    for name in (first, second):
        evidence.of(name, ANSWER).keep()
    evidence.path(first).rename(evidence.path(third))
    assert evidence.on_disk(third) is None
    evidence.path(first).symlink_to(evidence.path(second))
    assert evidence.on_disk(first) is None
    evidence.path(second).chmod(0o666)
    assert evidence.on_disk(second) is None


def test_evidence_of_another_database_stays(runtime: Runtime) -> None:
    name = uuid4()
    runtime.evidence.of(name, ANSWER).keep()
    recommit(runtime)
    assert runtime.evidence.leftovers() == [name]


def test_where_the_disk_refuses_the_bucket_has_it_and_a_look_at_the_doubt_records_it(
    client: Client, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    os.mkfifo(runtime.spool_dir / "evidence")  # no directory can be made there
    client.enqueue([GETIMG], batch="b")
    refuse(engine, "54000")
    drain(runtime, set_aside(client))
    story = only(client)["job"]
    (submission,) = rows.rows(engine, "SELECT id FROM submission")
    assert f"submissions/{UUID(str(submission.id))}/evidence" in story["error"]
    rows.rows(engine, "DROP TRIGGER refusing ON submission")
    rows.rows(engine, "UPDATE job SET due_at = now()")
    drain(runtime, lambda: only(client)["job"]["state"] == "succeeded")
    assert runtime.storage.head(f"submissions/{submission.id}/evidence") is None
    assert paid(simulated) == 1


def test_health_fails_while_a_worker_that_dispatches_cannot_record_what_it_has(
    engine: Engine, database_url: str
) -> None:
    health = partial(genqueue, "health", env={"GENQUEUE_DATABASE_URL": database_url})
    beat = partial(workers.heartbeat, name=f"{socket.gethostname()}-w", lock_key=1, slots=2)
    for stuck_seconds, code in ((0, 0), (30, 0), (90, 1), (0, 0)):
        with transaction(engine) as connection:
            beat(connection, stuck_seconds=stuck_seconds)
        assert health().code == code
    with transaction(engine) as connection:
        beat(connection, stuck_seconds=90)
    assert "has not accepted for 90 s" in health().err.replace("\n", " ")
