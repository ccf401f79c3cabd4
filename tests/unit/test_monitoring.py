"""Alert rules and dashboard: they name only metrics that exist, each alert is complete and has a test of its own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.monitoring import dashboard
from worker.metrics import WorkerMetrics

FORBIDDEN = {"job", "job_id", "batch", "prompt", "url", "link", "custom_id"}


@pytest.fixture
def monitoring(repository: Path) -> Path:
    return repository / "ops" / "monitoring"


def alerts(monitoring: Path) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((monitoring / "rules.yml").read_text())["groups"]
    return list(group["rules"])


def exported(repository: Path) -> set[str]:
    """Return every metric that a process of ours serves, as queries name it."""
    names: set[str] = set()
    for path in ("ops/monitoring/collector.py", "worker/metrics.py"):
        text = (repository / path).read_text()
        names |= set(re.findall(r'(?:_gauge|Gauge)\(\s*"(genqueue_\w+)"', text))
        names |= set(re.findall(r'name = "(genqueue_\w+)"', text))
        names |= {f"{name}_total" for name in re.findall(r'Counter\(\s*"(genqueue_\w+)"', text)}
        names |= {f"{name}_bucket" for name in re.findall(r'Histogram\(\s*"(genqueue_\w+)"', text)}
    return names


def named(text: str) -> set[str]:
    return set(re.findall(r"genqueue_\w+", text))


def test_the_rules_name_only_metrics_that_are_served(repository: Path, monitoring: Path) -> None:
    used = named(" ".join(rule["expr"] for rule in alerts(monitoring)))
    assert len(used) > 6
    assert used <= exported(repository)


def test_every_alert_has_a_severity_a_summary_and_a_section_of_the_runbook(monitoring: Path) -> None:
    for rule in alerts(monitoring):
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"].startswith("docs/runbook.md#")


def test_every_alert_fires_in_a_test_of_its_own_and_is_quiet_in_a_quiet_queue(monitoring: Path) -> None:
    tests = yaml.safe_load((monitoring / "rules_test.yml").read_text())["tests"]
    fires = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    quiet = {case["alertname"] for case in tests[-1]["alert_rule_test"] if not case["exp_alerts"]}
    assert fires == quiet == {rule["alert"] for rule in alerts(monitoring)}


def test_the_dashboard_is_as_its_script_writes_it_and_names_only_metrics_that_are_served(
    repository: Path, monitoring: Path
) -> None:
    text = (monitoring / "grafana.json").read_text()
    assert text == dashboard.text(), "run `python -m ops.monitoring.dashboard`"
    expressions = [target["expr"] for panel in json.loads(text)["panels"] for target in panel.get("targets", [])]
    used = named(" ".join(expressions))
    assert len(used) > 20
    assert used <= exported(repository)


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard.dashboard()["panels"]:
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & mine, panel["title"]
        cells |= mine


def test_no_label_of_a_worker_holds_a_job_a_batch_or_a_url() -> None:
    metrics = WorkerMetrics()
    metrics.paid_calls.labels("bloom", "accepted").inc()
    metrics.stage_seconds.labels("submit", "bloom").observe(1)
    metrics.images_stored.labels("bloom").inc()
    metrics.images_lost.labels("bloom", "result_expired").inc()
    labels = {label for family in metrics.registry.collect() for sample in family.samples for label in sample.labels}
    assert labels
    assert not labels & FORBIDDEN
