"""A trial in containers reaches its database by URL: it takes an empty one, and never one that may be real."""

from pathlib import Path

import psycopg
import pytest

from ops import trial
from ops.running import simulated_accounts
from shared.trial import VARIABLE
from tests.support.command import genqueue
from tests.support.servers import Databases

URL = "http://simulator:8900"


@pytest.fixture
def trials(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "trial.json"
    trial.write_for_containers(file, tmp_path, URL, trial.accounts_of(simulated_accounts(URL, 20)))
    return {VARIABLE: str(file)}


def purpose(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [kind for (kind,) in connection.execute("SELECT kind FROM genqueue.purpose")]


def test_the_first_migration_of_a_trial_makes_an_empty_database_the_trials(
    databases: Databases, trials: dict[str, str], tmp_path: Path
) -> None:
    with databases.fresh(migrated=False) as url:
        given = {**trials, "GENQUEUE_DATABASE_URL": url}
        assert genqueue("migrate", env=given, cwd=tmp_path).code == 0
        assert purpose(url) == ["trial"]
        assert genqueue("migrate", env=given, cwd=tmp_path).code == 0
        assert genqueue("batches", env=given, cwd=tmp_path).code == 0


def test_a_trial_refuses_a_database_that_has_a_schema_and_that_nobody_has_decided_about(
    database_url: str, trials: dict[str, str], tmp_path: Path
) -> None:
    ran = genqueue("migrate", env={**trials, "GENQUEUE_DATABASE_URL": database_url}, cwd=tmp_path)
    assert ran.code == 1
    assert "holds real jobs" in ran.err
    assert purpose(database_url) == []


def test_a_real_migration_decides_nothing(databases: Databases, tmp_path: Path) -> None:
    with databases.fresh(migrated=False) as url:
        assert genqueue("migrate", env={"GENQUEUE_DATABASE_URL": url}, cwd=tmp_path).code == 0
        assert purpose(url) == []
