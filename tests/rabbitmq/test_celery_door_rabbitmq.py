"""The Celery door on RabbitMQ, started for this run; `make rabbitmq` runs this file."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError
from pydantic import SecretStr

from ops.stack.ports import free_port
from producer import Client
from producer.celery_door import open_connection
from shared.db.engine import Engine, open_engine
from tests.support import rows
from tests.support.drain import drain
from tests.support.outcome import BLOOM, ended
from tests.support.pipeline import QUEUE, Pipeline, open_door
from tests.support.waiting import until
from worker.runtime import Runtime

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
ROW = {"custom_id": "hero", **BLOOM}


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretStr]:
    """A node of its own, with its files in a temporary directory."""
    assert SERVER.exists(), "apt-get install rabbitmq-server"
    home, port, distribution = tmp_path_factory.mktemp("rabbitmq"), free_port(avoid=set()), free_port(avoid=set())
    names = str(free_port(avoid=set()))  # of Erlang's own daemon, which would outlive its node
    environment = {
        **os.environ,
        "HOME": str(home),
        "ERL_EPMD_PORT": names,
        "RABBITMQ_NODENAME": f"genqueue{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
    }
    log = (home / "out").open("wb")
    server = subprocess.Popen([SERVER], env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"amqp://guest:guest@127.0.0.1:{port}//"
        until(lambda: _answers(url), seconds=90)
        yield SecretStr(url)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
        subprocess.run(["epmd", "-port", names, "-kill"], check=False, stdout=log, stderr=log)
        log.close()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(SecretStr(database_url), application="tests")
    yield opened
    opened.dispose()


def _answers(url: str) -> bool:
    try:
        with Connection(url, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
    except (OSError, OperationalError):
        return False
    return True


def test_an_order_becomes_jobs_and_the_end_of_each_comes_back_as_a_task(
    client: Client, runtime: Runtime, engine: Engine, broker: SecretStr
) -> None:
    pipeline = Pipeline(broker)
    with open_door(client, broker):
        pipeline.send(ROW)
        until(lambda: rows.rows(engine, "SELECT 1 FROM job") != [])
        drain(runtime, ended(client, "shop"))
        task_id, event = pipeline.hear()
    assert (event["id"], event["type"]) == (task_id, "job.succeeded")


def test_an_order_in_the_hands_of_a_door_that_died_is_taken_by_the_next(
    client: Client, engine: Engine, broker: SecretStr
) -> None:
    Pipeline(broker).send(ROW)
    dying = open_connection(broker)
    assert dying.SimpleQueue(QUEUE).get(timeout=10).payload[1]["rows"][0]["custom_id"] == "hero"
    dying.collect()
    with open_door(client, broker):
        until(lambda: rows.rows(engine, "SELECT 1 FROM job") != [])
