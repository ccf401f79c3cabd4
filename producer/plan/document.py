"""A plan as a program reads it: the same document on the command line and over HTTP."""

from typing import Any

from producer.plan.batch import AccountPlan, BatchPlan
from producer.results import as_json


def plan_document(planned: BatchPlan) -> dict[str, Any]:
    """Return a plan as JSON has it."""
    return {
        "batch": planned.batch,
        "batch_exists": planned.batch_exists,
        "rows": sum(one.share.rows + one.share.known for one in planned.accounts) + planned.conflict_count,
        "new": planned.new,
        "known": sum(one.share.known for one in planned.accounts),
        "conflicts": planned.conflict_count,
        "accounts": [_account_facts(one) for one in planned.accounts],
        "totals": [{name: as_json(value) for name, value in total._asdict().items()} for total in planned.totals],
        "remarks": [remark._asdict() for remark in planned.all_remarks()],
    }


def _account_facts(planned: AccountPlan) -> dict[str, Any]:
    share = planned.share
    return {
        "account": share.account,
        "provider": share.provider,
        "new": share.rows,
        "known": share.known,
        "images": share.images,
        "cost": {name: as_json(getattr(share.money, name)) for name in ("unit", "low", "high")},
        "price_unknown": dict(share.unpriced),
        "requests": {"submits": share.rows, "polls_at_least": share.polls, "references": share.references},
        "seconds_at_least": planned.least.seconds,
        "because": planned.least.because,
        "seconds_usually": planned.usual_seconds,
        "waiting": planned.waiting,
        "ahead": planned.ahead,
        "balance": as_json(planned.balance),
    }
