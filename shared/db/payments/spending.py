"""What was spent, read from running sums: of a batch, of an account's day, or of an account in all.

Each query adds the sums and the remaining deltas in one statement. Amounts are in the account's unit. A call of unknown
price adds nothing to them and is counted separately.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

_PARTS: Final = """(
  SELECT * FROM spending WHERE {kept} UNION ALL SELECT * FROM spending_delta WHERE {pending}
) AS part"""
_SUMS: Final = """
  coalesce(sum(reserved_amount + settled_amount + held_amount + elsewhere_amount), 0) AS spent,
  CAST(coalesce(sum(open_unpriced + settled_unpriced + held_unpriced), 0) AS bigint) AS unpriced,
  CAST(coalesce(sum(open), 0) AS bigint) AS open, max(gave_back_at) AS gave_back_at
"""
_TODAY: Final = "(now() AT TIME ZONE 'UTC')::date"


def _sums(which: str, kept: str) -> Any:
    return text(f"SELECT {_SUMS} FROM {_PARTS.format(kept=f'{which} AND {kept}', pending=which)}")


_DAY = _sums(f"account = :account AND day >= {_TODAY}", "batch_id IS NULL")
SPENT_TODAY: Final = f"""
(SELECT spent FROM (SELECT {_SUMS} FROM (
  SELECT * FROM spending WHERE batch_id IS NULL UNION ALL SELECT * FROM spending_delta
) AS part WHERE account = job.account AND day >= {_TODAY}) AS today)
"""
"""SQL: what the account of `job` has spent since the UTC day began."""
TODAY_BY_ACCOUNT: Final = f"""
SELECT account, {_SUMS} FROM {_PARTS.format(kept=f"batch_id IS NULL AND day >= {_TODAY}", pending=f"day >= {_TODAY}")}
GROUP BY account
"""
"""SQL: what each account has spent since the UTC day began, with the calls of unknown price and those in the air."""
_BATCH = _sums(
    "batch_id = :batch AND account = ANY(ARRAY(SELECT name FROM account WHERE provider = :provider))", "day IS NULL"
)
_ACCOUNT_PARTS = _PARTS.format(
    kept="batch_id IS NULL AND day IS NULL AND account = :account", pending="account = :account"
)
OF_ACCOUNT: Final = f"""
SELECT coalesce(sum(reserved_amount), 0) AS in_air, coalesce(sum(settled_amount), 0) AS settled,
  coalesce(sum(held_amount), 0) AS held, coalesce(sum(held_ever_amount), 0) AS held_ever,
  CAST(coalesce(sum(CASE WHEN unit = 'USD' THEN held ELSE held_unpriced END), 0) AS bigint) AS unpriced_held,
  CAST(coalesce(sum(CASE WHEN unit = 'USD' THEN open ELSE open_unpriced END), 0) AS bigint) AS unpriced_in_air,
  CAST(coalesce(sum(settled_unpriced), 0) AS bigint) AS unpriced_settled
FROM {_ACCOUNT_PARTS}
"""
"""SQL: an account's sums of all times, and its calls of unknown price; a price in USD is an estimate of ours."""
_BILL: Final = """
SELECT account.provider, part.account, part.unit, CAST(sum(calls) AS bigint) AS submissions,
  sum(settled_amount) AS settled, sum(elsewhere_amount) AS elsewhere, sum(reserved_amount) AS reserved,
  sum(held_amount) AS held, CAST(sum(accepted) AS bigint) AS accepted,
  CAST(sum(settled_unpriced) AS bigint) AS settled_unpriced, CAST(sum(held_unpriced) AS bigint) AS held_unpriced
FROM {parts} JOIN account ON account.name = part.account
GROUP BY account.provider, part.account, part.unit HAVING sum(calls) > 0 ORDER BY part.account, part.unit
"""
BILL_OF_ALL: Final = _BILL.format(parts=_PARTS.format(kept="batch_id IS NULL AND day IS NULL", pending="true"))
"""SQL: calls and amounts by account, of all times."""
_BILL_OF_ALL = text(BILL_OF_ALL)
_BATCH_ID: Final = "batch_id = CAST(:batch AS uuid)"
_BILL_OF_BATCH = text(_BILL.format(parts=_PARTS.format(kept=f"{_BATCH_ID} AND day IS NULL", pending=_BATCH_ID)))
_DAYS = text(f"""
SELECT part.day, account.provider, part.account, part.unit, account.daily_cap,
  CAST(sum(calls) AS bigint) AS submissions, sum(settled_amount) AS settled,
  sum(elsewhere_amount) AS elsewhere, sum(reserved_amount) AS reserved,
  sum(held_amount) AS held, CAST(sum(accepted) AS bigint) AS accepted,
  CAST(sum(settled_unpriced) AS bigint) AS settled_unpriced, CAST(sum(held_unpriced) AS bigint) AS held_unpriced
FROM {
    _PARTS.format(
        kept=f"batch_id IS NULL AND day > {_TODAY} - CAST(:count AS integer)",
        pending=f"day > {_TODAY} - CAST(:count AS integer)",
    )
} JOIN account ON account.name = part.account
GROUP BY part.day, account.name, part.account, part.unit HAVING sum(calls) > 0 ORDER BY part.day DESC, part.account
""")
# A batch that has left is known by the name that it had, unless another has that name now.
_NAMED = text("""
SELECT batch_id FROM (
  SELECT id AS batch_id, 0 AS rank, created_at AS at FROM batch WHERE name = :name
  UNION ALL SELECT batch_id, 1, left_at FROM past_batch WHERE past_batch.name = :name AND left_at IS NOT NULL
) AS named ORDER BY rank, at DESC LIMIT 1
""")


class CapCount(NamedTuple):
    """What counts under a cap: the amount spent or set aside, calls of unknown price, and calls in the air."""

    spent: Decimal
    unpriced: int
    open: int
    gave_back_at: datetime | None
    """When a call last cost less than was set aside for it."""


def of_day(connection: Connection, account: str) -> CapCount:
    """Return what an account has spent since the UTC day began."""
    return CapCount(*connection.execute(_DAY, {"account": account}).one())


def of_batch(connection: Connection, batch: UUID, provider: str) -> CapCount:
    """Return what a batch has spent at a provider, over all accounts."""
    return CapCount(*connection.execute(_BATCH, {"batch": batch, "provider": provider}).one())


def bill(connection: Connection, batch: str | None = None) -> list[dict[str, Any]]:
    """Return calls and amounts by account: of one batch or of everything, jobs that have left included.

    `settled_unpriced` and `held_unpriced` count the calls that add 0 because their cost is unknown.
    """
    if batch is None:
        return [row._asdict() for row in connection.execute(_BILL_OF_ALL)]
    named = {"batch": connection.execute(_NAMED, {"name": batch}).scalar_one_or_none()}
    return [row._asdict() for row in connection.execute(_BILL_OF_BATCH, named)]


def is_billed(connection: Connection, batch: str) -> bool:
    """Tell whether there is a batch of that name, or was one that has left."""
    return connection.execute(_NAMED, {"name": batch}).one_or_none() is not None


def bill_of(connection: Connection, batch: UUID) -> list[dict[str, Any]]:
    """Return what `bill` returns, of the batch with this id."""
    return [row._asdict() for row in connection.execute(_BILL_OF_BATCH, {"batch": batch})]


def days(connection: Connection, count: int = 30) -> list[dict[str, Any]]:
    """Return calls and amounts by UTC day and account, of the last `count` days, newest first.

    `daily_cap` is the account's cap of one day. A settled amount counts on the day that its call began.
    """
    return [row._asdict() for row in connection.execute(_DAYS, {"count": count})]
