"""Writes the Grafana dashboard: `python -m ops.monitoring.dashboard`. Four rows: work, money, providers, servers."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = Path(__file__).with_name("grafana.json")
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WIDTH: Final = 8
_HEIGHT: Final = 8
_COLUMNS: Final = 24


class Panel(NamedTuple):
    """One graph: its title, its unit in Grafana's words, and the queries with their legends."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Work": (
        Panel("What is wrong", "none", (("genqueue_problem", "{{kind}} {{subject}}"),), "table"),
        Panel(
            "Due work that nobody takes, and how long the oldest is due",
            "s",
            (
                ("genqueue_stalled_seconds", "{{account}} {{stage}}"),
                ("genqueue_oldest_due_seconds", "{{account}} {{stage}}, due"),
            ),
        ),
        Panel(
            "Jobs that have not ended",
            "none",
            (('sum by (state) (genqueue_jobs{state!~"succeeded|failed|cancelled"})', "{{state}}"),),
        ),
        Panel("What the first in line waits for", "none", (("genqueue_waiting", "{{account}} {{stage}} {{reason}}"),)),
        Panel(
            "Jobs that ended, a minute",
            "none",
            (("60 * sum by (state, code) (rate(genqueue_jobs_finished_total[5m]))", "{{state}} {{code}}"),),
        ),
        Panel(
            "From row to end",
            "s",
            (
                ("histogram_quantile(0.5, sum by (le) (rate(genqueue_job_seconds_bucket[15m])))", "half"),
                ("histogram_quantile(0.95, sum by (le) (rate(genqueue_job_seconds_bucket[15m])))", "95 %"),
            ),
        ),
    ),
    "Money": (
        Panel("Spent or set aside today (UTC)", "none", (("genqueue_spent_today", "{{account}} {{unit}}"),)),
        Panel("Held", "none", (('genqueue_money{kind="held"} > 0', "{{account}} {{unit}}"),)),
        Panel("Left at the provider", "none", (("genqueue_balance", "{{account}} {{unit}}"),)),
        Panel("Drift", "none", (("genqueue_drift", "{{account}} {{unit}}"),)),
        Panel("Calls of unknown cost", "none", (("genqueue_unpriced_calls > 0", "{{account}} {{kind}}"),)),
        Panel("Longest held for a person", "s", (("genqueue_held_seconds", "held"),)),
    ),
    "Providers": (
        Panel(
            "Paid calls a minute by outcome",
            "none",
            (("60 * sum by (account, outcome) (rate(genqueue_paid_calls_total[5m]))", "{{account}} {{outcome}}"),),
        ),
        Panel("Rate windows used", "percentunit", (("genqueue_window_used_ratio", "{{account}} {{window}}"),)),
        Panel("Paused", "none", (("genqueue_account_paused", "{{account}} {{code}}"),)),
        Panel(
            "Calls in hand, and allowed",
            "none",
            (("genqueue_calls_in_hand", "{{account}}"), ("genqueue_calls_allowed", "{{account}} allowed")),
        ),
        Panel("Time until the next link expires", "s", (("genqueue_link_margin_seconds", "{{account}}"),)),
        Panel(
            "Images stored and lost, a minute",
            "none",
            (
                ("60 * sum by (account) (rate(genqueue_images_stored_total[5m]))", "{{account}}"),
                ("60 * sum by (account, code) (rate(genqueue_images_lost_total[5m]))", "{{account}} {{code}}"),
            ),
        ),
    ),
    "Servers": (
        Panel("Workers", "none", (("genqueue_workers", "{{state}}"),)),
        Panel("Tick age", "s", (("genqueue_dispatch_tick_age_seconds", "{{instance}}"),)),
        Panel(
            "Time for one message, 95 %",
            "s",
            (
                (
                    "histogram_quantile(0.95, sum by (le, stage) (rate(genqueue_stage_seconds_bucket[5m])))",
                    "{{stage}}",
                ),
            ),
        ),
        Panel(
            "Database up, messages not taken",
            "none",
            (("genqueue_database_up", "database"), ("rate(genqueue_publish_failures_total[5m])", "{{instance}}")),
        ),
        Panel("Room on the spool's disk", "bytes", (("genqueue_spool_free_bytes", "{{instance}}"),)),
        Panel(
            "Dead rows, and the oldest transaction",
            "none",
            (
                ("topk(5, genqueue_table_dead_rows)", "{{table}}"),
                ("genqueue_oldest_transaction_seconds", "oldest transaction, s"),
            ),
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row, graphs in ROWS.items():
        panels.append(
            {"type": "row", "title": row, "id": len(panels) + 1, "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1}}
        )
        for index, graph in enumerate(graphs):
            place = {"x": index * _WIDTH % _COLUMNS, "y": top + 1 + index * _WIDTH // _COLUMNS * _HEIGHT}
            panels.append(_panel(graph, len(panels) + 1, {**place, "w": _WIDTH, "h": _HEIGHT}))
        top += 1 + -(-len(graphs) * _WIDTH // _COLUMNS) * _HEIGHT
    return {
        "uid": "genqueue",
        "title": "genqueue",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }


def _panel(graph: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
        | ({"format": "table", "instant": True} if graph.kind == "table" else {})
        for index, (expr, legend) in enumerate(graph.queries)
    ]
    return {
        "id": number,
        "type": graph.kind,
        "title": graph.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": graph.unit}, "overrides": []},
        "targets": targets,
    }


def text() -> str:
    """Return the file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
