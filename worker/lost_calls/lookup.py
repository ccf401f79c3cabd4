"""Look-up: judges what a provider's own list says about a lost call. It writes nothing.

Images that carry its reference settle it. Otherwise `adoption` looks for what it bought, and `absence` tells whether
the list proves that it bought nothing. Anything unowned that may be this call's forbids that.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shared.catalog.parameter import is_uuid
from shared.db.lost_calls.lost_calls import LostCall, OtherCall
from shared.upstream_ids import folded
from worker.lost_calls.absence import absence
from worker.lost_calls.adoption import adoption
from worker.lost_calls.judgement import Adopt, Judgement, Later, Unclear
from worker.lost_calls.list_facts import ListFacts
from worker.lost_calls.provider_clock import placed
from worker.lost_calls.rivals import of_rivals
from worker.next_step import PATIENCE_SECONDS
from worker.providers.contract import Listed
from worker.providers.reading import same_words, similar_words

_BEING_OWNED_SECONDS: Final = 15.0  # another call's purchase will be recorded within moments


def judge(lost_call: LostCall, facts: ListFacts, *, rivals: Sequence[OtherCall]) -> Judgement:
    """Judge to whom the unowned images in the list belong; never guess."""
    if referred := _by_reference(lost_call, facts):
        return referred
    suspects, late = _unowned(lost_call, facts, rivals)
    if facts.find_by == "prompt":
        if (wait := _wait_for_rivals(lost_call, suspects, rivals)) > 0:
            return Later(wait)
        rivals = [rival for rival in rivals if same_words(rival.prompt, lost_call.prompt)]
    if facts.find_by != "reference" and (unsettled := [rival.quiet_in for rival in rivals if rival.quiet_in > 0]):
        return Later(max(unsettled))
    found = adoption(lost_call, facts, suspects, rivals) or _unexplained(lost_call, facts, suspects, late)
    judgement = found or absence(lost_call, facts)
    if isinstance(judgement, Unclear):
        nobodys = [row for row in [*suspects, *late] if not facts.has_owner(row)]
        return replace(judgement, candidates=_likeliest_first(lost_call, nobodys))
    return judgement


def _by_reference(lost_call: LostCall, facts: ListFacts) -> Judgement | None:
    """Judge by the rows that carry this call's reference; None without any that says something."""
    if _is_anothers(lost_call, facts):
        return Unclear("a picture that carries this call's reference is recorded as another call's")
    if referred := _referred(lost_call, facts):
        wanted = max(len(lost_call.missing), 1)
        return Adopt(tuple(referred[:wanted]), tuple(referred[wanted:]))
    if _is_nameless(lost_call, facts):
        return Unclear("a row of the provider's list carries this call's reference, and no id that can be read")
    return None


def _with_reference(lost_call: LostCall, facts: ListFacts) -> list[Listed]:
    """Return the rows that carry this call's reference. They count at any time and under any prompt."""
    return [row for row in facts.reading.rows if row.reference == str(lost_call.submission_id) and row.upstream_id]


def _is_anothers(lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether what carries this call's reference is recorded for another call, whose answer named it."""
    rows = _with_reference(lost_call, facts)
    if any(not facts.has_owner(row) for row in rows):
        return False
    return any(folded(row.upstream_id or "") in facts.purchases for row in rows)


def _is_nameless(lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether a row carries this call's reference and cannot be adopted, because it has no id."""
    own = str(lost_call.submission_id)
    return any(row.reference == own and row.upstream_id is None for row in facts.reading.rows)


def _referred(lost_call: LostCall, facts: ListFacts) -> list[str]:
    """Return what carries this call's reference and has no owner, first what has not failed."""
    rows = sorted(_with_reference(lost_call, facts), key=lambda row: row.failed)
    return [str(row.upstream_id) for row in rows if not facts.has_owner(row)]


def _unowned(lost_call: LostCall, facts: ListFacts, rivals: Sequence[OtherCall]) -> tuple[list[Listed], list[Listed]]:
    """Return the unowned rows that the lost call may have made: those of its time, and later ones.

    found by      a row of the call's time counts      a later row counts
    reference     if it may lack our reference         if it has no reference
    prompt        if no rival explains it              if no rival explains it, and its words are similar
    time          always                               always
    """
    suspects, late = _by_time(lost_call, facts, rivals)
    if facts.find_by == "reference":
        # The provider may accept a delayed request late. Then only the reference tells to which call a row belongs.
        may_be_ours = [row for row in suspects if _may_lack_ours(row, lost_call, facts)]
        return may_be_ours, [row for row in late if row.reference is None]
    if facts.find_by == "time":
        return suspects, late
    return suspects, [row for row in late if similar_words(row.prompt, lost_call.prompt)]


def _by_time(lost_call: LostCall, facts: ListFacts, rivals: Sequence[OtherCall]) -> tuple[list[Listed], list[Listed]]:
    """Return the rows that nothing of ours explains: those that may be of the call's time, and those made after it."""
    begin, end = facts.clock.earliest(lost_call.opened_at), facts.clock.latest(lost_call.until)
    every = enumerate(placed(facts.reading))
    free = {place: row for place, row in every if _is_free(row[0], lost_call, facts)}
    of_others = of_rivals(free, facts.clock, rivals, lost_call.prompt) if facts.find_by == "prompt" else ()
    suspects: list[Listed] = []
    late: list[Listed] = []
    for place, (row, earliest, latest) in free.items():
        was_made_before = latest is not None and latest < begin
        was_made_after = earliest is not None and earliest > end
        if place in of_others or was_made_before:
            continue
        if was_made_after:
            late.append(row)
        else:
            suspects.append(row)
    return suspects, late


def _likeliest_first(lost_call: LostCall, rows: Sequence[Listed]) -> tuple[Listed, ...]:
    """Put rows of this call's prompt before others, each in the order of the list."""
    named = [row for row in rows if row.upstream_id is not None]
    return tuple(sorted(named, key=lambda row: not same_words(row.prompt, lost_call.prompt)))


def _is_free(row: Listed, lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether neither the id nor the reference of a row certainly belongs to another call of ours."""
    if facts.is_explained(row, lost_call):
        return False
    return not is_uuid(row.reference)  # another call's: rows with our reference were handled before


def _may_lack_ours(row: Listed, lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether a row without our reference may be ours all the same, because the provider dropped it."""
    if row.reference is None or not facts.shows_references:
        return True
    return similar_words(row.prompt, lost_call.prompt)


def _wait_for_rivals(lost_call: LostCall, suspects: Sequence[Listed], rivals: Sequence[OtherCall]) -> float:
    """Return the seconds until rivals have had their turn whose very prompt a suspect has; 0 or less if none waits."""
    others = [row for row in suspects if not same_words(row.prompt, lost_call.prompt)]
    named = [rival for rival in rivals if any(same_words(row.prompt, rival.prompt) for row in others)]
    return max((rival.quiet_in + _BEING_OWNED_SECONDS for rival in named if not rival.settled), default=0.0)


def _unexplained(
    lost_call: LostCall, facts: ListFacts, suspects: Sequence[Listed], late: Sequence[Listed]
) -> Judgement | None:
    """Judge unowned images that may still belong to this call: they forbid an absence. None without any.

    First they get some time in which a call of ours may turn out to own them: long if one in the air may have made all
    of them, otherwise a moment, and that only if none is of the lost call's own time.
    """
    if not suspects and not late:
        return None
    may_be_owned = _may_be_of_a_call_in_the_air(facts, [*suspects, *late])
    patience = PATIENCE_SECONDS if may_be_owned else _BEING_OWNED_SECONDS
    if -lost_call.quiet_in < patience and (may_be_owned or not suspects):
        return Later(_BEING_OWNED_SECONDS)
    if named := sum(facts.has_owner(row) for row in [*suspects, *late]):
        return Unclear(f"{named} pictures that another call's answer named may be this call's")
    if unread := sum(row.upstream_id is None or row.made_at is None for row in suspects):
        return Unclear(f"{unread} rows of the provider's list cannot be read, and may be this call's")
    if suspects:
        return Unclear(f"{len(suspects)} pictures of that time belong to no call of ours, and may be this call's")
    return Unclear("a picture that may be this call's was made after it was over")


def _may_be_of_a_call_in_the_air(facts: ListFacts, rows: Sequence[Listed]) -> bool:
    """Tell whether all of these rows were made since the oldest call without an answer began."""
    if facts.in_the_air_since is None:
        return False
    began = facts.clock.earliest(facts.in_the_air_since)
    return all(row.made_at is not None and row.made_at >= began for row in rows)
