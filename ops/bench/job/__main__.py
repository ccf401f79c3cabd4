"""`python -m ops.bench.job [--jobs N] [--rounds N] [--mode burst|paced|both] [--only NAME] [--json FILE]`."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from statistics import median
from typing import Final

from ops.bench.job import measure
from ops.bench.job.measure import Cost
from ops.bench.job.runs import Celery, Genqueue, Rival, run, run_script
from ops.bench.job.sites import Site, open_site

_PER_SECOND: Final = 25.0
_SCRIPT: Final = "bare script"
_FIGURES: Final = tuple(item.name for item in fields(Cost) if item.name not in {"rival", "mode"})


def main() -> None:
    """Run every rival in turn, round after round, and print the medians and their ratios to genqueue's."""
    asked = _asked()
    modes = ["burst", "paced"] if asked.mode == "both" else [asked.mode]
    costs: list[Cost] = []
    with open_site() as site:
        rivals: list[Rival] = [Genqueue(site), Celery("plain_celery", 16), Celery("tuned_celery", 8)]
        for _ in range(asked.rounds):
            for mode in modes:
                pace = _PER_SECOND if mode == "paced" else 0.0
                for one in (each for each in rivals if asked.only in each.name):
                    costs.append(run(site, one, mode, asked.jobs, pace))
                    _tell_statements(site, one, mode, asked)
                costs += [run_script(site, mode, asked.jobs, pace)] if asked.only in _SCRIPT else []
    if asked.json:
        with asked.json.open("a") as file:
            file.writelines(json.dumps(asdict(cost)) + "\n" for cost in costs)
    for mode in modes:
        _report(mode, [cost for cost in costs if cost.mode == mode])


def _tell_statements(site: Site, one: Rival, mode: str, asked: argparse.Namespace) -> None:
    for calls, query in measure.most_frequent(site.admin_url, asked.statements):
        print(f"{one.name} {mode} {calls / asked.jobs:6.2f} {query[:90]}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", choices=("burst", "paced", "both"), default="both")
    parser.add_argument("--only", default="", help="a part of a rival's name")
    parser.add_argument("--statements", type=int, default=0, help="print so many of the most frequent statements")
    parser.add_argument("--json", type=Path, help="append one line for each run to this file")
    return parser.parse_args()


def _report(mode: str, costs: Iterable[Cost]) -> None:
    found: dict[str, list[Cost]] = {}
    for cost in costs:
        found.setdefault(cost.rival, []).append(cost)
    print(f"\n{mode}: CPU in ms a job, lag from ready upstream to stored in s; medians")
    print(f"{'':14} {'worker':>7} {'ratio':>6} {'prod.':>6} {'PgSQL':>6} {'SQL':>6} {'HTTP':>5}", end="")
    print(f" {'p50':>6} {'p99':>6} {'jobs/s':>7} {'MB':>5}")
    ours = _median(found.get("genqueue", []), "worker_ms")
    for name, runs in found.items():
        value = {figure: _median(runs, figure) for figure in _FIGURES}
        ratio = value["worker_ms"] / ours if ours else 0.0
        print(f"{name:14} {value['worker_ms']:7.1f} {ratio:6.1f} {value['producer_ms']:6.1f}", end="")
        print(f" {value['postgres_ms']:6.1f} {value['statements']:6.1f} {value['requests']:5.2f}", end="")
        print(
            f" {value['lag_p50']:6.2f} {value['lag_p99']:6.2f} {value['jobs_per_second']:7.1f} {value['rss_mb']:5.0f}"
        )


def _median(costs: Iterable[Cost], figure: str) -> float:
    values = [getattr(cost, figure) for cost in costs]
    return median(values) if values else 0.0


if __name__ == "__main__":
    main()
