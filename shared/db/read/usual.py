"""How long an account's calls and pictures took lately: what an estimate of a batch's time goes by."""

from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from shared.account_settings import RateWindow

_LATELY: Final = 64
_USUAL: Final = text(f"""
SELECT account.name AS account, account.provider, account.concurrency, account.windows, call.seconds AS call_seconds,
  call.since AS since_seconds, coalesce((
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ready) FROM (
      SELECT CAST(unnest(later) AS float8) AS ready FROM model_time WHERE model_time.account = account.name) AS known
  ), 0) AS ready_seconds
FROM account CROSS JOIN LATERAL (
  SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY CAST(extract(epoch FROM answered_at - opened_at) AS float8))
    FILTER (WHERE outcome = 'accepted' AND NOT inferred) AS seconds,
    CAST(extract(epoch FROM clock_timestamp() - max(opened_at)) AS float8) AS since
  FROM (
    SELECT opened_at, answered_at, outcome, inferred FROM submission WHERE submission.account = account.name
    ORDER BY opened_at DESC LIMIT {_LATELY}
  ) AS lately
) AS call WHERE call.seconds IS NOT NULL ORDER BY account.name
""")


class Usual(NamedTuple):
    """An account's limits, and its usual times in seconds: the medians of its last calls and of its models' last jobs.

    `ready_seconds` is from the purchase until a look finds the pictures, 0 where the call's answer holds them;
    `since_seconds` is the age of its newest call.
    """

    account: str
    provider: str
    concurrency: int
    windows: tuple[RateWindow, ...]
    call_seconds: float
    since_seconds: float
    ready_seconds: float


def usual(connection: Connection) -> list[Usual]:
    """Return the usual times of each account that has bought something lately."""
    return [
        Usual(**{**row, "windows": tuple(RateWindow(**window) for window in row["windows"])})
        for row in connection.execute(_USUAL).mappings()
    ]
