"""What one stored picture costs: the newest bought calls of each account, beside its bill.

A call whose picture was never stored costs as much as another, so this is more than the price of a call.
"""

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, text

from shared.db.payments.spending import BILL_OF_ALL

NEWEST_CALLS: Final = 300
"""The bought calls of an account, with a known price, that are looked at."""
_BILL = text(f"""
SELECT bill.*, drawn.pictures, drawn.cost FROM ({BILL_OF_ALL}) AS bill CROSS JOIN LATERAL (
  SELECT sum(call.cost) AS cost, CAST(coalesce(sum(call.pictures), 0) AS bigint) AS pictures FROM (
    SELECT s.settled + s.elsewhere AS cost,
      (SELECT count(*) FROM image WHERE submission_id = s.id AND state = 'stored') AS pictures
    FROM submission s WHERE s.account = bill.account AND s.unit = bill.unit AND s.outcome = 'accepted'
      AND s.settled IS NOT NULL AND EXISTS (
        SELECT 1 FROM job WHERE job.id = s.job_id AND job.finished_at IS NOT NULL)
    ORDER BY s.opened_at DESC LIMIT {NEWEST_CALLS}
  ) AS call
) AS drawn ORDER BY bill.account, bill.unit
""")


def bill(connection: Connection) -> list[dict[str, Any]]:
    """Return what `spending.bill` returns, each row with `per_picture` in its unit: None where nothing is known."""
    return [_with_cost(row._asdict()) for row in connection.execute(_BILL)]


def _with_cost(row: dict[str, Any]) -> dict[str, Any]:
    cost, pictures = row.pop("cost"), row.pop("pictures")
    return {**row, "per_picture": Decimal(cost) / pictures if pictures else None}
