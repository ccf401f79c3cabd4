"""How long a claim on a job lasts, in seconds. Then its row is due again, and another worker may take the job."""

from collections.abc import Mapping

from shared.lifecycle import Stage
from shared.settings import Settings
from worker.served_accounts import API_SECONDS, ServedAccount

RECONCILE_LEASE = 600.0
"""One look-up after the other, each with several requests; renewed as each begins."""


def leases(settings: Settings) -> Mapping[Stage, float]:
    """Return how long a claim lasts which a stage has begun."""
    slack = settings.lease_slack_seconds
    return {
        Stage.SUBMIT: settings.send_within_seconds + slack,  # until the intent, which sets `paid_call_lease`
        Stage.POLL: 2 * API_SECONDS + slack,  # a page, then what the page lacks
        Stage.TRANSFER: settings.fetch_timeout_seconds + 3 * settings.s3_timeout_seconds + slack,
        Stage.RECONCILE: RECONCILE_LEASE,
    }


def paid_call_lease(settings: Settings, account: ServedAccount) -> float:
    """Return the seconds from an intent after which its unanswered call is certainly over."""
    return account.timeout_seconds + settings.send_within_seconds + settings.lease_slack_seconds
