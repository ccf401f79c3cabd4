"""Rows of a list that other lost calls explain: for each prompt, at most as many rows as those calls asked for."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.db.lost_calls.lost_calls import OtherCall
from worker.lost_calls.provider_clock import ProviderClock
from worker.providers.contract import Listed
from worker.providers.reading import similar_words

Placed = tuple[Listed, datetime | None, datetime | None]
"""A row with the earliest and latest time at which it can have been made."""


def of_rivals(
    rows: Mapping[int, Placed], clock: ProviderClock, rivals: Sequence[OtherCall], prompt: Any
) -> Collection[int]:
    """Return the places of unowned rows that belong to other lost calls, because they have the very prompt of these.

    `prompt` is that of the call in doubt. A provider may have retyped it. So a row stays with that call if its prompt
    is similar, or if more rows have the rivals' prompt than the rivals want.
    """
    theirs = set[int]()
    for group in _by_words(rivals).values():
        if not similar_words(group[0].prompt, prompt):
            places = _places(rows, clock, group)
            theirs.update(places if len(places) <= sum(rival.wanted for rival in group) else ())
    return theirs


def _by_words(rivals: Sequence[OtherCall]) -> Mapping[tuple[str, ...], list[OtherCall]]:
    groups = defaultdict[tuple[str, ...], list[OtherCall]](list)
    for rival in rivals:
        groups[tuple(rival.prompt.split())].append(rival)
    return groups


def _places(rows: Mapping[int, Placed], clock: ProviderClock, group: Sequence[OtherCall]) -> list[int]:
    """Return the places of the rows that have the prompt of these calls and were made during one of the calls."""
    words = group[0].prompt.split()
    named = {place: one for place, one in rows.items() if one[0].prompt is not None and one[0].prompt.split() == words}
    return [place for place, one in named.items() if any(_may_have_made(rival, one, clock) for rival in group)]


def _may_have_made(rival: OtherCall, placed: Placed, clock: ProviderClock) -> bool:
    _row, earliest, latest = placed
    too_early = latest is not None and rival.opened_at is not None and latest < clock.earliest(rival.opened_at)
    too_late = earliest is not None and rival.until is not None and earliest > clock.latest(rival.until)
    return not (too_early or too_late)
