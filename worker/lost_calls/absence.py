"""Whether a list without a trace of a lost call proves that it bought nothing.

It does so only if it also shows a presence: a purchase of ours that was made after the lost call was over.
`docs/safeguards.md` lists each condition with its test.
"""

from datetime import datetime, timedelta
from typing import Final

from shared.db.lost_calls.lost_calls import LostCall, Purchase
from shared.upstream_ids import folded
from worker.lost_calls.judgement import NOT_LISTED, Judgement, Lacking, Unclear
from worker.lost_calls.list_facts import ListFacts
from worker.lost_calls.listing import times

NEAR: Final = timedelta(minutes=10)
"""Purchases of ours this close to a lost call, before or after it, must be in the list too."""
_YOUNG: Final = timedelta(minutes=30)
"""A list that shows nothing older proves the absence of no older call: it may show the last half hour alone."""


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
    if lack := _lack(lost_call, facts):
        return Unclear(f"the provider's list {lack}")
    return NOT_LISTED


def _lack(lost_call: LostCall, facts: ListFacts) -> str | None:
    """Say why rows of the call's time may be missing from the list; None if it is known to go back to the call."""
    if not facts.reading.reaches(facts.clock.earliest(lost_call.opened_at)):
        return "is too long to be read back to this call"
    if hidden := hidden_purchases(lost_call, facts):
        return f"shows nothing of this call, nor {len(hidden)} purchases of ours near it"
    if not _reaches_beyond(lost_call, facts):
        return "shows nothing of this call, but nothing from before it either, and may not go back to it"
    return None


def newest_presence(lost_call: LostCall, facts: ListFacts) -> Purchase | None:
    """Return the newest purchase in the list by the lost call's key that began after the call was over, or None.

    The list of another key may be another project's: it shows the later purchases of that key, and never what the
    lost call bought.
    """
    purchases = (one for one in facts.purchases.values() if one.same_account and not one.named_more)
    later = (one for one in purchases if one.opened_at >= lost_call.over_at)
    shown = (one for one in later if lost_call.was_made_with(one.key_id) and folded(one.upstream_id) in facts.listed)
    return max(shown, key=_opened_at, default=None)


def hidden_purchases(lost_call: LostCall, facts: ListFacts) -> list[Purchase]:
    """Return the purchases that the list should show and lacks, and that were not given up as gone.

    They are those near the lost call, and those between it and the oldest row; with the lost call's key, those of our
    other accounts too. A look by id that says `gone` may come from a provider that restarts, as may the list that lacks
    both.
    """
    settled = facts.reading.asked_at - timedelta(seconds=facts.quiet_seconds)
    oldest = min(times(facts.reading.rows), default=None)
    return [
        one
        for one in facts.purchases.values()
        if _is_near(one, lost_call) or _lies_between(one, oldest, lost_call, facts)
        if one.answered_at <= settled and not one.gone and folded(one.upstream_id) not in facts.listed
    ]


def _is_near(one: Purchase, lost_call: LostCall) -> bool:
    """Tell whether a purchase of the account, or of another one with the lost call's key, lies near the call."""
    if not one.same_account and not lost_call.was_made_with(one.key_id):
        return False
    return lost_call.opened_at - NEAR <= one.opened_at <= lost_call.until + NEAR


def _lies_between(one: Purchase, oldest: datetime | None, lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether a purchase by the lost call's key is younger than the oldest row, and older than the call."""
    if oldest is None or not lost_call.was_made_with(one.key_id):
        return False
    return one.opened_at <= lost_call.opened_at and facts.clock.earliest(one.opened_at) > oldest


def _reaches_beyond(lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether the list shows something from before the call, so that it is known to go back to it.

    A list may show the last half hour, and say that this is everything. A key that had bought nothing before a call
    has nothing older to show; its list is believed while the call is young.
    """
    begin = facts.clock.earliest(lost_call.opened_at)
    if any(made < begin for made in times(facts.reading.rows)):
        return True
    before = [one for one in facts.purchases.values() if _was_bought_before(one, lost_call)]
    if any(folded(one.upstream_id) in facts.listed for one in before):
        return True
    return not before and not facts.bought_before and facts.reading.asked_at - lost_call.opened_at <= _YOUNG


def _was_bought_before(one: Purchase, lost_call: LostCall) -> bool:
    return lost_call.was_made_with(one.key_id) and one.answered_at <= lost_call.opened_at and not one.gone


def _opened_at(one: Purchase) -> datetime:
    return one.opened_at
