"""Look-up: what a provider's own list says of a call whose answer is lost; a judgement, not an act."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from shared.db import doubts, slots
from shared.db.doubts import Doubt, Rival
from worker.api_get import ApiGet
from worker.paid_post import Lost, Reply
from worker.providers.contract import Candidate, FindBy, Found, PaidCall, Refused, same_words
from worker.runtime import Account, Runtime

_SHAPE_TOLERANCE: Final = 0.05  # sizes are rounded to what a model can draw
_SHAPELESS_SECONDS: Final = 3600.0
_LOOK_AGAIN_SECONDS: Final = 60.0
_BEING_OWNED_SECONDS: Final = 15.0  # another call's purchase is recorded within moments
PATIENCE_SECONDS: Final = 3600.0
"""For so long after a call's quiet time its answer may yet be found by looking again; then a person is told."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """These pictures, and no others, are what the lost call bought."""

    upstream_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotBought:
    """Nothing that the provider shows can be this call's: its list was read whole, or its usage figure stood still."""

    note: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The list does not settle it: a person must."""

    note: str


@dataclass(frozen=True, slots=True)
class Later:
    """Another call may still claim what the list shows; look again in `seconds`."""

    seconds: float


NOT_LISTED: Final = NotBought("the provider's own list shows that nothing was bought")
Judgement = Adopt | NotBought | Unclear | Later


async def look_up(runtime: Runtime, account: Account, doubt: Doubt) -> Found | Refused:
    """Ask the provider what it made in the doubt's span, each request within the account's rate windows."""
    get = cast("ApiGet", Metered(account.get, partial(take_slot, runtime, account.name)))
    call = PaidCall(account.body(doubt.request, len(doubt.missing)), 0, str(doubt.submission_id))
    owned = await runtime.sql(partial(doubts.owned_since, account=account.name, since=doubt.since))
    return await account.searching(get).find(call, doubt.since, owned)


def judge(doubt: Doubt, found: Found, *, rivals: Sequence[Rival], owned: Collection[str], find_by: FindBy) -> Judgement:
    """Say whose the pictures are that the list shows and nobody owns; never guess."""
    unowned = [one for one in found.candidates if one.upstream_id not in owned]
    free = [one for one in unowned if one.made_at <= doubt.until]
    if find_by == "reference":
        mine = [one.upstream_id for one in unowned if one.reference == str(doubt.submission_id)]
        return Adopt(tuple(mine)) if mine else _absent(found)
    if find_by == "prompt":
        rivals = [rival for rival in rivals if same_words(rival.prompt, doubt.request.get("prompt"))]
    if unsettled := [rival.quiet_in for rival in rivals if rival.quiet_in > 0]:
        return Later(max(unsettled))
    if not free and unowned:
        # Made later than the call can have been: by somebody else, or because the network held the call back so long.
        late = Unclear("a picture that may be this call's was made after it was over")
        return Later(_BEING_OWNED_SECONDS) if doubt.quiet_in > -_BEING_OWNED_SECONDS else late
    if not free:
        return _absent(found)
    return _one_to_one(doubt, free, rivals) if find_by == "prompt" else _only_one(doubt, free, rivals)


def _absent(found: Found) -> Judgement:
    if found.complete:
        return NOT_LISTED
    return Unclear("the provider's list is too long to be read back to this call")


def _one_to_one(doubt: Doubt, free: Sequence[Candidate], rivals: Sequence[Rival]) -> Judgement:
    """Deal the pictures of one prompt out over the calls that asked for it: equal calls, and exactly enough of them."""
    calls = 1 + len(rivals)
    if any((rival.fingerprint, rival.wanted) != (doubt.fingerprint, len(doubt.missing)) for rival in rivals):
        return Unclear(f"{calls} lost calls with this prompt asked for different things")
    wanted = len(doubt.missing)
    if len(free) != wanted * calls:
        return Unclear(
            f"the provider made {len(free)} pictures of this prompt; {calls} lost calls asked for {wanted} each"
        )
    in_order = sorted(free, key=lambda one: (one.made_at, one.upstream_id))
    return Adopt(tuple(one.upstream_id for one in in_order[:wanted]))


def _only_one(doubt: Doubt, free: Sequence[Candidate], rivals: Sequence[Rival]) -> Judgement:
    """Take a picture by its time alone only where one call is in doubt, one picture is free, and its shape is right."""
    if rivals or len(free) != 1 or len(doubt.missing) != 1:
        return Unclear(f"{1 + len(rivals)} lost calls, {len(free)} pictures that nobody owns, and no prompt to go by")
    if not (free[0].width and free[0].height) and doubt.quiet_in > -_SHAPELESS_SECONDS:
        return Later(_LOOK_AGAIN_SECONDS)  # it is still being made
    if not _fits(free[0], doubt.request.get("aspect_ratio")):
        return Unclear("one picture was made at that time, but not known to be of the shape that was asked for")
    return Adopt((free[0].upstream_id,))


def _fits(one: Candidate, ratio: Any) -> bool:
    if not one.width or not one.height:
        return False
    wide, _, high = str(ratio or "1:1").partition(":")
    try:
        asked = float(wide) / float(high)
    except (ValueError, ZeroDivisionError):
        return False
    return abs(one.width / one.height / asked - 1) <= _SHAPE_TOLERANCE


async def take_slot(runtime: Runtime, account: str) -> bool:
    """Take the slot of one request that asks about what is bought; False where the windows have no room."""
    granted, _wait = await runtime.sql(partial(slots.grant, account=account, kind="poll", wanted=1))
    return granted > 0


class Metered:
    """An `ApiGet` whose every request takes a slot of the account's windows first: a look-up may need many."""

    def __init__(self, get: ApiGet, take_slot: Callable[[], Awaitable[bool]]) -> None:
        self._get = get
        self.take_slot = take_slot

    async def get(self, url: str, *, headers: Mapping[str, str], params: Mapping[str, Any]) -> Reply | Lost:
        """GET `url` within the windows; `Lost` where they have no room."""
        if not await self.take_slot():
            return Lost("the account's rate windows have no room")
        return await self._get.get(url, headers=headers, params=params)
