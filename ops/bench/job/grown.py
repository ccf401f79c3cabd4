"""Measures one job in an empty and in a large database: `python -m ops.bench.job.grown [JOBS]`.

JOBS (1,000,000) have ended. As many wait: a tenth of them stand at the head of the measured account's line and are due
in a day, the others wait at an account that no worker serves. A tenth more is pending at a third account.
"""

import sys
from typing import Any, Final, NamedTuple

import psycopg

from ops.bench.job.runs import Genqueue, run
from ops.bench.job.sites import Site, open_site

_MODES: Final = (("all at once", 300, 0.0), ("25 a second", 250, 25.0))
# What the benchmark asks is not the job's. It reads by index, however large the tables are.
_OURS: Final = "query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE 'SELECT image.upstream_id, %'"
_COST: Final = f"""
SELECT sum(calls), sum(shared_blks_hit + shared_blks_read), sum(total_exec_time) FROM pg_stat_statements WHERE {_OURS}
"""  # noqa: S608 - constants
_STORED: Final = """
SELECT image.upstream_id, extract(epoch FROM image.stored_at) FROM genqueue.image
WHERE image.state = 'stored' AND image.stored_at > now() - interval '1 hour' AND image.upstream_id LIKE 'i%'
"""
_ACCOUNTS: Final = """
INSERT INTO account (name, provider, unit, concurrency, windows)
SELECT other.name, other.name, unit, concurrency, windows
FROM account, unnest(ARRAY['getimg', 'banatie']) AS other (name)
WHERE account.name = 'bloom'
"""
_JOBS: Final = """
INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images, state, fair_position, due_at,
  deadline_at, collect_until, finished_at)
SELECT gen_random_uuid(), batch.id, %(account)s || %(state)s || number, %(account)s, %(account)s,
  '{"n": 1, "prompt": "x"}', '', 1, %(state)s, number - 100000000,
  now() + CAST(%(due)s AS interval), now() + interval '1 day', now() + interval '7 days',
  CASE WHEN %(state)s = 'succeeded' THEN now() - interval '1 day' END
FROM batch, generate_series(1, %(count)s) AS number WHERE batch.name = 'old'
"""
_CALLS: Final = """
INSERT INTO submission (id, job_id, epoch, batch_id, account, key_id, sender, sender_lock, opened_at, send_by,
  visible_by, outcome, answered_at, upstream_id, reserved, settled, unit)
SELECT id, id, 1, batch_id, account, 'k', 'w', 1, now() - interval '1 day', now(), now(), 'accepted', now(),
  'old-' || id, 2, 2, 'credit'
FROM job WHERE state IN ('succeeded', 'pending') AND custom_id LIKE account || state || '%'
"""
_IMAGES: Final = """
INSERT INTO image (job_id, index, submission_id, account, upstream_id, state, bucket, key, sha256, stored_at)
SELECT job_id, 0, id, account, upstream_id, CASE account WHEN 'bloom' THEN 'stored' ELSE 'pending' END, 'b',
  CAST(id AS text), '', now() - interval '1 day' FROM submission WHERE upstream_id LIKE 'old-%'
"""
_LEDGER: Final = """
INSERT INTO ledger (at, submission_id, job_id, account, kind, unit, settled)
SELECT opened_at, id, job_id, account, 'settle', unit, settled FROM submission WHERE upstream_id LIKE 'old-%'
"""


class QueryCost(NamedTuple):
    """What one job asked of PostgreSQL: statements, pages touched, and milliseconds of their execution."""

    statements: float
    pages: float
    milliseconds: float


class Indexed(Genqueue):
    """This queue, whose results are read without the old ones."""

    def stored(self, site: Site) -> dict[str, float]:
        """Return what was stored within the hour."""
        with psycopg.connect(site.admin_url, autocommit=True) as connection:
            return {name: float(at) for name, at in connection.execute(_STORED)}


def grow(site: Site, jobs: int) -> None:
    """Fill the tables as the module says."""
    with psycopg.connect(site.admin_url, autocommit=True) as connection:
        connection.execute("SET search_path = genqueue")
        connection.execute("SET session_replication_role = replica")  # without triggers and foreign keys: they hold
        connection.execute("INSERT INTO batch (id, name) VALUES (gen_random_uuid(), 'old')")
        connection.execute(_ACCOUNTS)
        for account, state, due, count in (
            ("bloom", "succeeded", None, jobs),
            ("bloom", "queued", "1 day", jobs // 10),
            ("getimg", "queued", "0", jobs * 9 // 10),
            ("banatie", "pending", "0", jobs // 10),
        ):
            connection.execute(_JOBS, {"account": account, "state": state, "due": due, "count": count})
        for statement in (_CALLS, _IMAGES, _LEDGER, "VACUUM ANALYZE", "CHECKPOINT"):
            connection.execute(statement.encode())


def query_cost(site: Site, jobs: int) -> QueryCost:
    """Return what a job cost since the statistics were reset."""
    with psycopg.connect(site.admin_url, autocommit=True) as connection:
        row: Any = connection.execute(_COST.encode()).fetchone()
    return QueryCost(*(float(total) / jobs for total in row))


def main(jobs: int) -> None:
    """Print a line for each state of the database and each pace."""
    with open_site() as site:
        queue = Indexed(site)
        print(f"{'':24} {'statements':>10} {'pages':>8} {'PostgreSQL ms':>14} {'worker ms':>10} {'lag p50':>8}")
        for state in ("empty", f"{2 * jobs:,} jobs"):
            if state != "empty":
                grow(site, jobs)
            for mode, count, per_second in _MODES:
                found = run(site, queue, mode, count, per_second)
                asked = query_cost(site, count)
                print(
                    f"{state + ', ' + mode:24} {asked.statements:10.1f} {asked.pages:8.0f} {asked.milliseconds:14.2f} "
                    f"{found.worker_ms:10.1f} {found.lag_p50:8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
