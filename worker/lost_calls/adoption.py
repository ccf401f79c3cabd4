"""Which unowned images of a list a lost call bought, by its prompt or by its time; never guessed."""

from collections.abc import Sequence
from typing import Final

from shared.db.lost_calls.lost_calls import LostCall, OtherCall
from worker.lost_calls.judgement import Adopt, Judgement, Later, Unclear
from worker.lost_calls.list_facts import ListFacts
from worker.lost_calls.matching import contradicts, fits
from worker.providers.contract import Listed
from worker.providers.reading import same_words

_SHAPELESS_SECONDS: Final = 3600.0
_LOOK_AGAIN_SECONDS: Final = 60.0


def adoption(
    lost_call: LostCall, facts: ListFacts, suspects: Sequence[Listed], rivals: Sequence[OtherCall]
) -> Judgement | None:
    """Return what the lost call bought, or why nobody can tell; None if no suspect can be its own by this provider."""
    if facts.find_by == "prompt":
        named = [row for row in suspects if row.upstream_id and same_words(row.prompt, lost_call.prompt)]
        if any(facts.has_owner(row) for row in named):
            return None
        # What says that it was asked for otherwise stays a suspect: it is not adopted, and proves no absence either.
        same = [row for row in named if not contradicts(row, facts.wanted)]
        return _dealt(lost_call, same, rivals) if same else None
    if facts.find_by == "time" and suspects and not any(facts.has_owner(row) for row in suspects):
        return _only_one(lost_call, suspects, rivals)
    return None


def _dealt(lost_call: LostCall, same: Sequence[Listed], rivals: Sequence[OtherCall]) -> Judgement:
    """Share the images of one prompt among the lost calls that asked for it, if these asked for the same.

    Some of the calls may have bought nothing, and it does not matter which. But if one of them is settled, an image may
    be its own: a person may have seen it, or its answer may have left it out.
    """
    calls, wanted = 1 + len(rivals), len(lost_call.missing)
    if any((rival.fingerprint, rival.wanted) != (lost_call.fingerprint, wanted) for rival in rivals):
        return Unclear(f"{calls} lost calls with this prompt asked for different things")
    all_bought = len(same) == wanted * calls
    some_bought = wanted > 0 and len(same) % wanted == 0 and len(same) < wanted * calls
    if not all_bought and (not some_bought or any(rival.settled for rival in rivals)):
        return Unclear(
            f"the provider made {len(same)} pictures of this prompt; {calls} lost calls asked for {wanted} each"
        )
    in_order = sorted(same, key=lambda one: (one.made_at is None, one.made_at, one.upstream_id))
    return Adopt(tuple(str(one.upstream_id) for one in in_order[:wanted]))


def _only_one(lost_call: LostCall, suspects: Sequence[Listed], rivals: Sequence[OtherCall]) -> Judgement:
    """Adopt an image by its time alone only if one call is in doubt, one image is unowned, and its shape fits."""
    one = suspects[0]
    if rivals or len(suspects) != 1 or len(lost_call.missing) != 1 or one.upstream_id is None or one.made_at is None:
        return Unclear(
            f"{1 + len(rivals)} lost calls, {len(suspects)} pictures that nobody owns, and no prompt to go by"
        )
    if not (one.width and one.height) and -lost_call.quiet_in < _SHAPELESS_SECONDS:
        return Later(_LOOK_AGAIN_SECONDS)  # it is still being made
    if not fits(one, lost_call.request.get("aspect_ratio")):
        return Unclear("one picture was made at that time, but not known to be of the shape that was asked for")
    return Adopt((one.upstream_id,))
