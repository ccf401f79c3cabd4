"""Whether a list without a trace of a lost call proves that it bought nothing.

It does so only if it also shows a presence: a purchase of ours that was made after the lost call was over.
`docs/safeguards.md` lists each condition with its test.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from shared.db.lost_calls.lost_calls import LostCall, Purchase
from shared.upstream_ids import folded
from worker.lost_calls.judgement import NOT_LISTED, Judgement, Lacking, Unclear
from worker.lost_calls.list_facts import ListFacts

NEAR: Final = timedelta(minutes=10)
"""Purchases of ours this close to a lost call, before or after it, must be in the list too."""


def absence(lost_call: LostCall, facts: ListFacts) -> Judgement:
    """Judge whether a list without a trace of the call would have shown one."""
    reading = facts.reading
    if not lost_call.was_made_with(facts.key_id):
        return Unclear(
            "the provider's list shows nothing of this call, but the account's key is not known to be the one that "
            "paid, and the list of another key proves nothing"
        )
    presence = newest_presence(lost_call, facts)
    if presence is None:
        return Lacking(
            "the provider's list shows nothing of this call; no purchase of ours that was made after it is in the list "
            "yet, so that proves nothing; it is read again when the account's next purchase settles"
        )
    if fault := reading.fault or reading.disorder:
        return Unclear(f"the provider's list shows nothing of this call, but {fault}")
    if not reading.reaches(facts.clock.earliest(lost_call.opened_at)):
        return Unclear("the provider's list is too long to be read back to this call")
    if hidden := hidden_purchases(lost_call, facts):
        return Unclear(f"the provider's list shows nothing of this call, nor {len(hidden)} purchases of ours near it")
    return NOT_LISTED


def newest_presence(lost_call: LostCall, facts: ListFacts) -> Purchase | None:
    """Return the newest purchase in the list by the lost call's key that began after the call was over, or None.

    The list of another key may be another project's: it shows the later purchases of that key, and never what the
    lost call bought.
    """
    purchases = (one for one in _same_account(facts.purchases) if not one.named_more)
    later = (one for one in purchases if one.opened_at >= lost_call.over_at)
    shown = (one for one in later if lost_call.was_made_with(one.key_id) and folded(one.upstream_id) in facts.listed)
    return max(shown, key=_opened_at, default=None)


def hidden_purchases(lost_call: LostCall, facts: ListFacts) -> list[Purchase]:
    """Return the purchases near the lost call that are missing from the list, and were not given up as gone.

    A look by id that says `gone` may come from a provider that restarts, as may the list that lacks both.
    """
    begin, end = lost_call.opened_at - NEAR, lost_call.until + NEAR
    settled = facts.reading.asked_at - timedelta(seconds=facts.quiet_seconds)
    return [
        one
        for one in _same_account(facts.purchases)
        if begin <= one.opened_at <= end and one.answered_at <= settled and not one.gone
        if folded(one.upstream_id) not in facts.listed
    ]


def _same_account(purchases: Mapping[str, Purchase]) -> Iterable[Purchase]:
    return (one for one in purchases.values() if one.same_account)


def _opened_at(one: Purchase) -> datetime:
    return one.opened_at
