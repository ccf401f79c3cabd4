"""Counts what a run costs: CPU of process trees, statements of PostgreSQL, and how late each result came."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psutil
import psycopg

# What the benchmark itself asks does not count.
_COUNTED: Final = "query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE 'SELECT upstream_id, %'"
_STATEMENTS: Final = f"SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE {_COUNTED}"  # noqa: S608 - constants
_MOST: Final = f"SELECT calls, query FROM pg_stat_statements WHERE {_COUNTED} ORDER BY calls DESC LIMIT 40"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Cost:
    """What one job of a run cost; CPU in milliseconds, lags in seconds."""

    rival: str
    mode: str
    requests: float
    lag_p50: float
    lag_p99: float
    jobs_per_second: float
    worker_ms: float = 0.0
    producer_ms: float = 0.0
    postgres_ms: float = 0.0
    statements: float = 0.0
    rss_mb: float = 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process, its children, and those of its children that have ended."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # its parent has its time now
        total += times.user + times.system + times.children_user + times.children_system
    return total


def parent_of(pid: int) -> int:
    """Return the process that started this one: of a session's process, PostgreSQL itself."""
    return psutil.Process(pid).ppid()


def rss_mb(pid: int) -> float:
    """Return the resident megabytes of a process and its children."""
    root = psutil.Process(pid)
    return sum(float(process.memory_info().rss) for process in [root, *root.children(recursive=True)]) / 2**20


def statements(admin_url: str) -> float:
    """Return how many statements PostgreSQL has run since its statistics were reset."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        row = connection.execute(_STATEMENTS).fetchone()
        return float(row[0]) if row else 0.0


def most_frequent(admin_url: str, count: int) -> list[tuple[int, str]]:
    """Return the statements that ran most often, with their number of calls, at most 40."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        return [(int(calls), " ".join(query.split())) for calls, query in connection.execute(_MOST)][:count]


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which `share` of the values lie; 0 without any."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
