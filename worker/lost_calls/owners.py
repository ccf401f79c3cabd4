"""Whether a row that is recorded as one call's may be what another call bought: answers may be mixed up.

A provider may name the picture of a lost call in its answer to a later one, beside that call's own or in its place. The
row then has an owner, and explains nothing: taken for that owner's, it would prove that the lost call bought nothing.
"""

from collections.abc import Sequence

from shared.db.lost_calls.lost_calls import LostCall, Purchase
from worker.lost_calls.provider_clock import ClockBound, clock_within
from worker.providers.contract import Listed
from worker.providers.reading import same_words


def is_doubtful(
    row: Listed, owner: Purchase, lost_call: LostCall, bounds: Sequence[ClockBound], *, slack_seconds: float
) -> bool:
    """Tell whether a row may be the lost call's although the answer to `owner`'s call named it.

    the row                                                       may be the lost call's
    carries the reference of its owner's call                     no
    was there before its owner's call began                       yes
    has the words of its owner's call                             no
    has the words of the lost call                                yes
    has other words, or shows none                                if its owner's answer named more than was asked for
    """
    if row.reference == str(owner.submission_id):
        return False
    if _is_older(row, owner, bounds, slack_seconds=slack_seconds):
        return True
    if same_words(row.prompt, owner.prompt):
        return False
    return owner.named_more or same_words(row.prompt, lost_call.prompt)


def _is_older(row: Listed, owner: Purchase, bounds: Sequence[ClockBound], *, slack_seconds: float) -> bool:
    """Tell whether a row was made before its owner's call, by the clock of what other calls made."""
    if row.made_at is None:
        return False
    others = [one for one in bounds if one.submission_id != owner.submission_id]
    return row.made_at < clock_within(others, slack_seconds=slack_seconds).earliest(owner.opened_at)
