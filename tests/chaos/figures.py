"""The figures of a run as Markdown."""

from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Any, Final

from tests.chaos.crashing_worker import WAITS
from tests.chaos.ground import SIMULATED, TIME_SCALE, worker_environment
from tests.chaos.run import BATCHES, Run
from tests.chaos.verdict import owned_by_nobody

_NEXT_MOVES: Final = """
SELECT job_id, extract(epoch FROM min(at) - %s)::float FROM job_event WHERE job_id = ANY(%s) AND at > %s GROUP BY job_id
"""
_DOUBTS: Final = """
SELECT e.code, count(*) FROM job_event e JOIN job j ON j.id = e.job_id JOIN batch b ON b.id = j.batch_id
WHERE b.name = ANY(%s) AND e.to_state = 'in_doubt' AND e.from_state <> 'in_doubt' GROUP BY e.code ORDER BY 2 DESC
"""
_SETTLED: Final = """
SELECT CASE WHEN e.actor = 'person' THEN 'by hand' WHEN e.code = 'answer_found' THEN 'found in the provider''s list'
  WHEN e.code = 'not_bought' THEN 'provably not bought' ELSE 'late evidence' END || ', then ' || e.to_state, count(*)
FROM job_event e JOIN job j ON j.id = e.job_id JOIN batch b ON b.id = j.batch_id
WHERE b.name = ANY(%s) AND e.from_state = 'in_doubt' AND e.to_state <> 'in_doubt' GROUP BY 1 ORDER BY 2 DESC
"""


def report(run: Run) -> str:
    """Return what happened, in tables."""
    return "\n".join(_lines(run)) + "\n"


def recovery_seconds(run: Run) -> dict[str, list[float]]:
    """Return the seconds from each death until every job that the dead worker had in hand had moved on.

    Under `all` for the last of its jobs, and for the last one by the state that it was in.
    """
    found: dict[str, list[float]] = {}
    for death in run.deaths:
        if death.jobs:
            moves = dict(run.site.sql(_NEXT_MOVES, death.at, list(death.jobs), death.at))
            for state in ("all", *set(death.jobs.values())):
                last = [moves[job] for job, was in death.jobs.items() if job in moves and state in {"all", was}]
                found.setdefault(state, []).append(max(last, default=0.0))
    return found


def _lines(run: Run) -> Iterator[str]:
    yield f"`{run.command}`"
    yield ""
    yield from _table("figure", "value", _figures(run))
    yield from _table("in hand at a kill", "kills; seconds until the last had moved on: median, worst", _recovery(run))
    yield from _table("done to it", "times", dict(sorted(run.monkey.done.items())))
    yield from _table("a provider that is wrong", "how, and for which part of the run", _lies(run))
    yield from _table("fault of the simulator", "requests", _faults(run))
    yield from _table("in doubt because of", "jobs", dict(run.site.sql(_DOUBTS, list(BATCHES))))
    yield from _table("doubt settled", "jobs", dict(run.site.sql(_SETTLED, list(BATCHES))))
    if run.found:
        yield from _table("owned by nobody", "count", dict(owned_by_nobody(run.found)))
        yield from _table("account", "submissions, charges, bill", _money(run))


def _figures(run: Run) -> dict[str, Any]:
    states = Counter(job.state for job in run.found.jobs) if run.found else {}
    return {
        "jobs": run.jobs,
        "ended as": ", ".join(f"{count} {state}" for state, count in sorted(states.items())),
        "pictures stored": len(run.found.stored) if run.found else 0,
        "workers killed": len(run.deaths),
        "jobs resolved by hand": run.resolved,
        "accounts resumed by hand": run.resumed,
        "wall time": f"{run.seconds:.0f} s, {run.jobs / run.seconds * 60:.0f} jobs a minute",
        "time scale": f"{TIME_SCALE:g}, pictures of {SIMULATED.pixels} pixels",
        "waits and leases": ", ".join(_settings()),
        "waits that are no settings": ", ".join(f"{name}={seconds:g}" for (_, name), seconds in WAITS.items()),
    }


def _recovery(run: Run) -> dict[str, str]:
    return {
        state: f"{len(seconds)}; {median(seconds):.1f}, {max(seconds):.1f}"
        for state, seconds in sorted(recovery_seconds(run).items())
    }


def _settings() -> Iterator[str]:
    """The settings of a worker that are about time, and how many tries there are."""
    for name, value in sorted(worker_environment("").items()):
        if name.endswith(("_SECONDS", "_TRIES", "_SLOTS", "_PAUSE")):
            yield f"{name.removeprefix('GENQUEUE_').lower()}={value}"


def _lies(run: Run) -> dict[str, str]:
    return {
        f"{lie.target}: {lie.kind}": ", ".join(f"{name}={value}" for name, value in lie.settings.items())
        + f", {lie.at:.0%} to {lie.until:.0%}"
        for lie in run.actions
        if lie.settings
    }


def _faults(run: Run) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for row in run.site.simulator.counters()["requests"]:
        if not str(row["outcome"]).isdecimal() or row["outcome"] in {"404", "429"}:
            counted[f"{row['route']}: {row['outcome']}"] += row["count"]
    return dict(sorted(counted.items()))


def _money(run: Run) -> dict[str, str]:
    found = run.found
    assert found is not None
    return {
        row["account"]: f"{row['submissions']}, "
        f"{sum(len(lines) for lines in found.charges.values() if lines[0].provider == row['account'])}, "
        f"settled {row['settled']} held {row['held']} {row['unit']}"
        for row in found.money
    }


def _table(first: str, second: str, rows: dict[str, Any]) -> Iterator[str]:
    if rows:
        yield from (f"| {first} | {second} |", "|---|---|")
        yield from (f"| {name} | {value} |" for name, value in rows.items())
        yield ""
