"""What the database knows as Prometheus metrics, and what a worker counts of its own work."""

import socket
import urllib.request
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from structlog.testing import capture_logs

from ops.cli.metrics import registry_of
from ops.monitoring import collector
from ops.simulator import Simulator
from producer import Client
from shared.account_settings import RateWindow
from shared.db import pauses, workers
from shared.db.engine import Engine, open_engine, transaction
from shared.lifecycle import ImageState
from tests.support import rows
from tests.support.drain import drain
from tests.support.outcome import BLOOM, ended
from worker.metrics import WorkerMetrics
from worker.runtime import Runtime

FORBIDDEN = {"job", "job_id", "batch", "prompt", "url", "link", "custom_id"}


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look reads the database, and every job that has ended counts at once."""
    monkeypatch.setattr(collector, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(collector, "_SETTLED_SECONDS", 0.0)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def serve(engine: Engine, *windows: RateWindow) -> None:
    with transaction(engine) as connection:
        workers.heartbeat(connection, name="w1", lock_key=1, slots=4)
    rows.register(engine, rows.account_row(windows=windows))


def test_the_state_of_the_queue_is_served(engine: Engine) -> None:
    rows.one_intent(engine)
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    rows.transferring(engine, ImageState.READY)
    serve(engine, RateWindow(requests=100, seconds=3600))
    rows.rows(engine, "UPDATE account SET balance = 40 WHERE name = 'bloom'")
    found = registry_of(engine)
    assert value(found, "genqueue_database_up") == 1
    assert value(found, "genqueue_jobs", provider="bloom", state="submitting") == 1
    assert value(found, "genqueue_waiting", account="bloom", stage="submit", reason="line") == 1
    assert value(found, "genqueue_workers", state="alive") == 1
    assert value(found, "genqueue_balance", account="bloom", unit="credit") == 40
    assert value(found, "genqueue_spent_today", account="bloom", unit="credit") == 4
    assert value(found, "genqueue_money", account="bloom", unit="credit", kind="reserved") == 2
    used = value(found, "genqueue_window_used_ratio", account="bloom", window="100/hour")
    assert used == pytest.approx(0.02)
    assert value(found, "genqueue_table_rows", table="job") is not None


def test_due_work_is_stalled_unless_a_known_reason_holds_it_up(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    serve(engine)
    rows.rows(engine, "UPDATE job SET due_at = now() - interval '500 s'")
    found = registry_of(engine)
    for name in ("genqueue_stalled_seconds", "genqueue_oldest_due_seconds"):
        assert value(found, name, account="bloom", stage="submit") == pytest.approx(500, abs=60)
    assert value(found, "genqueue_problem", kind="no_progress", subject="bloom submit") == 1
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="account_out_of_credit", reason="x", action_url=None)
    assert value(found, "genqueue_stalled_seconds", account="bloom", stage="submit") == 0
    assert value(found, "genqueue_account_paused", account="bloom", code="account_out_of_credit") == 1
    assert value(found, "genqueue_problem", kind="account_paused", subject="bloom") == 1


def test_jobs_that_end_while_it_runs_are_counted_once_with_their_time(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    found = registry_of(runtime.engine)
    assert value(found, "genqueue_database_up") == 1
    client.enqueue([{**BLOOM, "custom_id": str(number)} for number in range(3)], batch="b")
    drain(runtime, ended(client, "b"))
    for _ in range(3):
        assert value(found, "genqueue_jobs_finished_total", provider="bloom", state="succeeded", code="") == 3
    assert value(found, "genqueue_job_seconds_count", provider="bloom", state="succeeded") == 3
    counted = runtime.metrics.registry
    assert value(counted, "genqueue_paid_calls_total", account="bloom", outcome="accepted") == 3
    assert value(counted, "genqueue_images_stored_total", account="bloom") == 3
    assert simulated is not None


def test_without_its_database_only_that_is_served(engine: Engine) -> None:
    url = engine.url.set(database="no_such_database").render_as_string(hide_password=False)
    away = open_engine(SecretStr(url), application="tests", pool_size=1)
    found = registry_of(away)
    assert value(found, "genqueue_database_up") == 0
    assert value(found, "genqueue_workers", state="alive") is None
    away.dispose()


def test_no_label_holds_a_job_a_batch_or_a_url(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a", prompt="a secret garden")], batch="my batch", caps={"bloom": Decimal(1)})
    serve(engine)
    samples = [sample for family in registry_of(engine).collect() for sample in family.samples]
    assert len(samples) > 30
    assert not {label for sample in samples for label in sample.labels} & FORBIDDEN
    assert not any("my batch" in text or "garden" in text for one in samples for text in one.labels.values())


def test_a_worker_serves_its_counters_and_a_port_that_is_taken_stops_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with capture_logs() as logs:
            WorkerMetrics().serve(f"127.0.0.1:{port}")
    assert [one["event"] for one in logs] == ["metrics_not_served"]
    metrics = WorkerMetrics()
    metrics.paid_calls.labels("bloom", "accepted").inc()
    metrics.serve(f"127.0.0.1:{port}")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = {family.name for family in text_string_to_metric_families(answer.read().decode())}
    assert {"genqueue_paid_calls", "genqueue_dispatch_tick_age_seconds"} <= families
