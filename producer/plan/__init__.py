"""Plans a prompt file: what it would add and cost, and how long it would take. Nothing is written.

`batch.py` makes the plan: `rows.py` prices each row, `shares.py` sums the rows up by account, `times.py` bounds the
time, and `remarks.py` says what is missing. `retrying.py` prices what a retry would buy.
"""

from producer.plan.batch import AccountPlan, BatchPlan, plan

__all__ = ["AccountPlan", "BatchPlan", "plan"]
