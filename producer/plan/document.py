"""A plan as a program reads it: the same document on the command line and over HTTP."""

from typing import Any, Final

from producer.plan.batch import AccountPlan, BatchPlan
from producer.plan.remarks import Remark
from producer.results import as_json

_WITHOUT_SUMS: Final = {
    "balance_short": ("its balance may be too small for this", "ask whoever operates the queue, or send less"),
    "daily_cap_short": ("its cap of a day may have too little room for this", "the rest waits for the next day"),
}


def plan_document(planned: BatchPlan, *, sums: bool = True) -> dict[str, Any]:
    """Return a plan as JSON has it; without `sums`, it leaves out what an account has and spends for all batches."""
    return {
        "batch": planned.batch,
        "batch_exists": planned.batch_exists,
        "rows": sum(one.share.rows + one.share.known for one in planned.accounts) + planned.conflict_count,
        "new": planned.new,
        "known": sum(one.share.known for one in planned.accounts),
        "conflicts": planned.conflict_count,
        "accounts": [_account_facts(one) | ({} if sums else {"balance": None}) for one in planned.accounts],
        "totals": [{name: as_json(value) for name, value in total._asdict().items()} for total in planned.totals],
        "remarks": [(one if sums else without_sums(one))._asdict() for one in planned.all_remarks()],
    }


def without_sums(remark: Remark) -> Remark:
    """Return a remark that does not say what an account has or spends."""
    if remark.code not in _WITHOUT_SUMS:
        return remark
    seen, do = _WITHOUT_SUMS[remark.code]
    return remark._replace(seen=seen, do=do)


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
