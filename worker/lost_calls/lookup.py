"""Look-up: judges what a provider's own list says about a lost call. It writes nothing.

A reading proves that nothing was bought only if it also shows a presence: a purchase of ours that was made after the
lost call was over. `docs/safeguards.md` lists each condition with its test.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from shared.catalog.parameter import is_uuid
from shared.db.lost_calls.lost_calls import LostCall, OtherCall, Purchase
from shared.upstream_ids import folded
from worker.lost_calls.listing import ListReading
from worker.lost_calls.matching import contradicts, fits
from worker.lost_calls.owners import is_doubtful
from worker.lost_calls.provider_clock import ClockBound, ProviderClock, bounds_of, clock_within, placed
from worker.lost_calls.rivals import of_rivals
from worker.next_step import PATIENCE_SECONDS
from worker.providers.contract import FindBy, Listed
from worker.providers.reading import same_words, similar_words

_SHAPELESS_SECONDS: Final = 3600.0
_LOOK_AGAIN_SECONDS: Final = 60.0
_BEING_OWNED_SECONDS: Final = 15.0  # another call's purchase will be recorded within moments
NEAR: Final = timedelta(minutes=10)
"""Purchases of ours this close to a lost call, before or after it, must be in the list too."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """The lost call bought exactly these images.

    `unowned` also carry its reference, but exceed the number of images that it asked for.
    """

    upstream_ids: tuple[str, ...]
    unowned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotBought:
    """The provider's list or figures would have shown a purchase of this call, and show none."""

    note: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The reading does not settle the call: a person must. `candidates`: the rows that may be this call's."""

    note: str
    candidates: tuple[Listed, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Lacking:
    """The reading shows nothing of the call, and lacks a purchase of ours that would make it a proof.

    `to_be_made`: only a purchase that is still to be made can do that; none that was made already may show later.
    """

    note: str
    to_be_made: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """Another call may still claim what the list shows. Look again in `seconds`."""

    seconds: float


NOT_LISTED: Final = NotBought(
    "nothing was bought: the provider's list shows later purchases of ours, and none by this call"
)
Judgement = Adopt | NotBought | Unclear | Lacking | Later


@dataclass(frozen=True, kw_only=True)
class ListFacts:
    """A reading of a list, and what the database knows about its images at the time of the judgement.

    `owned`: ids that belong to a call of ours. `purchases`: images that the provider itself said it made for us, by
    their folded ids. `key_id`: the key that the list was read with. `in_the_air_since`: when the oldest call without an
    answer began. `wanted`: the request of the call, in its provider's words. `slack_seconds`: how far the provider's
    clock may differ. `quiet_seconds`: how late a purchase may show.
    """

    reading: ListReading
    find_by: FindBy
    owned: Collection[str] = ()
    purchases: Mapping[str, Purchase] = field(default_factory=dict)
    key_id: str | None = None
    in_the_air_since: datetime | None = None
    slack_seconds: float = 0.0
    quiet_seconds: float = 0.0
    wanted: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def clock(self) -> ProviderClock:
        """The provider's clock, derived from our own rows."""
        return clock_within(self._bounds, slack_seconds=self.slack_seconds)

    @cached_property
    def _bounds(self) -> Sequence[ClockBound]:
        return bounds_of(self.reading.rows, self.purchases)

    @cached_property
    def listed(self) -> frozenset[str]:
        """The folded ids in the list."""
        return frozenset(folded(row.upstream_id) for row in self.reading.rows if row.upstream_id)

    @cached_property
    def taken(self) -> frozenset[str]:
        """The folded ids of what belongs to a call of ours."""
        return frozenset(folded(one) for one in (*self.owned, *self.purchases))

    @cached_property
    def shows_references(self) -> bool:
        """Whether a purchase of ours carries its reference, so that an image without one is somebody else's."""
        return any(
            row.reference == str(bought.submission_id)
            for row in self.reading.rows
            if (bought := self.purchases.get(folded(row.upstream_id or ""))) is not None
        )

    def has_owner(self, row: Listed) -> bool:
        """Whether a row belongs to a call of ours, as far as is recorded."""
        return row.upstream_id is not None and folded(row.upstream_id) in self.taken

    def is_explained(self, row: Listed, lost_call: LostCall) -> bool:
        """Whether a row is certainly not the lost call's, because it belongs to another call of ours."""
        owner = self.purchases.get(folded(row.upstream_id or ""))
        if owner is None or owner.submission_id == lost_call.submission_id:
            return self.has_owner(row)
        begin, end = self.clock.earliest(lost_call.opened_at), self.clock.latest(lost_call.until)
        if row.made_at is not None and not begin <= row.made_at <= end:
            return True
        return not is_doubtful(row, owner, lost_call, self._bounds, slack_seconds=self.slack_seconds)

    def presence(self, lost_call: LostCall) -> Purchase | None:
        """Return the newest purchase in the list by the lost call's key that began after the call was over, or None.

        The list of another key may be another project's: it shows the later purchases of that key, and never what the
        lost call bought.
        """
        purchases = (one for one in _same_account(self.purchases) if not one.named_more)
        later = (one for one in purchases if one.opened_at >= lost_call.over_at)
        shown = (one for one in later if lost_call.was_made_with(one.key_id) and folded(one.upstream_id) in self.listed)
        return max(shown, key=_opened_at, default=None)

    def hidden(self, lost_call: LostCall) -> list[Purchase]:
        """Return the purchases near the lost call that are missing from the list, and were not given up as gone.

        A look by id that says `gone` may come from a provider that restarts, as may the list that lacks both.
        """
        begin, end = lost_call.opened_at - NEAR, lost_call.until + NEAR
        settled = self.reading.asked_at - timedelta(seconds=self.quiet_seconds)
        return [
            one
            for one in _same_account(self.purchases)
            if begin <= one.opened_at <= end and one.answered_at <= settled and not one.gone
            if folded(one.upstream_id) not in self.listed
        ]


def _same_account(purchases: Mapping[str, Purchase]) -> Iterable[Purchase]:
    return (one for one in purchases.values() if one.same_account)


def _opened_at(one: Purchase) -> datetime:
    return one.opened_at


def judge(lost_call: LostCall, facts: ListFacts, *, rivals: Sequence[OtherCall]) -> Judgement:
    """Judge to whom the unowned images in the list belong; never guess."""
    if _is_anothers(lost_call, facts):
        return Unclear("a picture that carries this call's reference is recorded as another call's")
    if referred := _referred(lost_call, facts):
        wanted = max(len(lost_call.missing), 1)
        return Adopt(tuple(referred[:wanted]), tuple(referred[wanted:]))
    suspects, late = _unowned(lost_call, facts, rivals)
    if facts.find_by == "prompt":
        if (wait := _rivals_turn(lost_call, suspects, rivals)) > 0:
            return Later(wait)
        rivals = [rival for rival in rivals if same_words(rival.prompt, lost_call.request.get("prompt"))]
    if facts.find_by != "reference" and (unsettled := [rival.quiet_in for rival in rivals if rival.quiet_in > 0]):
        return Later(max(unsettled))
    found = _adoption(lost_call, facts, suspects, rivals) or _unexplained(lost_call, facts, suspects, late)
    judgement = found or _absence(lost_call, facts)
    if isinstance(judgement, Unclear):
        nobodys = [row for row in [*suspects, *late] if not facts.has_owner(row)]
        return replace(judgement, candidates=_likeliest_first(lost_call, nobodys))
    return judgement


def _with_reference(lost_call: LostCall, facts: ListFacts) -> list[Listed]:
    """Return the rows that carry this call's reference. They count at any time and under any prompt."""
    return [row for row in facts.reading.rows if row.reference == str(lost_call.submission_id) and row.upstream_id]


def _is_anothers(lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether what carries this call's reference is recorded for another call, whose answer named it."""
    rows = _with_reference(lost_call, facts)
    if any(not facts.has_owner(row) for row in rows):
        return False
    return any(folded(row.upstream_id or "") in facts.purchases for row in rows)


def _referred(lost_call: LostCall, facts: ListFacts) -> list[str]:
    return [str(row.upstream_id) for row in _with_reference(lost_call, facts) if not facts.has_owner(row)]


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
    return suspects, [row for row in late if similar_words(row.prompt, _prompt(lost_call))]


def _by_time(lost_call: LostCall, facts: ListFacts, rivals: Sequence[OtherCall]) -> tuple[list[Listed], list[Listed]]:
    """Return the rows that nothing of ours explains: those that may be of the call's time, and those made after it."""
    begin, end = facts.clock.earliest(lost_call.opened_at), facts.clock.latest(lost_call.until)
    every = enumerate(placed(facts.reading))
    free = {place: row for place, row in every if _is_free(row[0], lost_call, facts)}
    of_others = of_rivals(free, facts.clock, rivals, _prompt(lost_call)) if facts.find_by == "prompt" else ()
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
    return tuple(sorted(named, key=lambda row: not same_words(row.prompt, _prompt(lost_call))))


def _prompt(lost_call: LostCall) -> Any:
    return lost_call.request.get("prompt")


def _is_free(row: Listed, lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether neither the id nor the reference of a row certainly belongs to another call of ours."""
    if facts.is_explained(row, lost_call):
        return False
    return not is_uuid(row.reference)  # another call's: rows with our reference were handled before


def _may_lack_ours(row: Listed, lost_call: LostCall, facts: ListFacts) -> bool:
    """Tell whether a row without our reference may be ours all the same, because the provider dropped it."""
    if row.reference is None or not facts.shows_references:
        return True
    return similar_words(row.prompt, _prompt(lost_call))


def _rivals_turn(lost_call: LostCall, suspects: Sequence[Listed], rivals: Sequence[OtherCall]) -> float:
    """Return the seconds until rivals have had their turn whose very prompt a suspect has; 0 or less if none waits."""
    others = [row for row in suspects if not same_words(row.prompt, _prompt(lost_call))]
    named = [rival for rival in rivals if any(same_words(row.prompt, rival.prompt) for row in others)]
    return max((rival.quiet_in + _BEING_OWNED_SECONDS for rival in named if not rival.settled), default=0.0)


def _adoption(
    lost_call: LostCall, facts: ListFacts, suspects: Sequence[Listed], rivals: Sequence[OtherCall]
) -> Judgement | None:
    if facts.find_by == "prompt":
        named = [row for row in suspects if row.upstream_id and same_words(row.prompt, _prompt(lost_call))]
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
    if not (one.width and one.height) and _quiet_for(lost_call) < _SHAPELESS_SECONDS:
        return Later(_LOOK_AGAIN_SECONDS)  # it is still being made
    if not fits(one, lost_call.request.get("aspect_ratio")):
        return Unclear("one picture was made at that time, but not known to be of the shape that was asked for")
    return Adopt((one.upstream_id,))


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
    if _quiet_for(lost_call) < patience and (may_be_owned or not suspects):
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


def _quiet_for(lost_call: LostCall) -> float:
    """Return the seconds since the call's quiet time ended; negative before that."""
    return -lost_call.quiet_in


def _absence(lost_call: LostCall, facts: ListFacts) -> Judgement:
    """Judge whether a list without a trace of the call would have shown one."""
    reading = facts.reading
    if not lost_call.was_made_with(facts.key_id):
        return Unclear(
            "the provider's list shows nothing of this call, but the account's key is not known to be the one that "
            "paid, and the list of another key proves nothing"
        )
    presence = facts.presence(lost_call)
    if presence is None:
        return Lacking(
            "the provider's list shows nothing of this call; no purchase of ours that was made after it is in the list "
            "yet, so that proves nothing; it is read again when the account's next purchase settles"
        )
    if fault := reading.fault or reading.disorder:
        return Unclear(f"the provider's list shows nothing of this call, but {fault}")
    if not reading.reaches(facts.clock.earliest(lost_call.opened_at)):
        return Unclear("the provider's list is too long to be read back to this call")
    if hidden := facts.hidden(lost_call):
        return Unclear(f"the provider's list shows nothing of this call, nor {len(hidden)} purchases of ours near it")
    return NOT_LISTED
