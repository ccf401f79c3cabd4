"""The requests of one poll: pages first, then each image that they leave open, by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import structlog

from shared.db import rate_windows
from shared.images import ClaimedImage
from shared.lifecycle import IMAGE_UNFINISHED, Outcome
from shared.upstream_ids import spellings
from worker import next_step
from worker.providers.contract import Refused, RetryRule, UpstreamImage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

_log = structlog.get_logger(__name__)
SINGLES: Final = 20
"""So many images of lists that failed are asked for by themselves in one poll: more would use up the windows."""
_NOT_THE_LISTS_OWN: Final = frozenset({"account_unauthorized", "rate_limited"})


@dataclass(slots=True)
class Looks:
    """The results of the requests of one poll."""

    known: dict[str, UpstreamImage] = field(default_factory=dict)
    vouching: set[str] = field(default_factory=set)
    """Images whose own request, or a link, shows that they exist."""
    refusals: list[Refused] = field(default_factory=list)
    left_open: list[str] = field(default_factory=list)
    """Images of lists that failed, although their own requests may not."""
    of_one_job: bool = False
    """Whether the refusal is said of the images of one job, and not of the account."""
    no_room_seconds: float | None = None
    """Seconds until a rate window has room for the remaining requests."""

    @property
    def refusal(self) -> Refused | None:
        """Why some images could not be asked for, if the provider said so."""
        return self.refusals[0] if self.refusals else None

    @property
    def stopped(self) -> bool:
        """Whether some images could not be asked for."""
        return bool(self.refusals) or self.no_room_seconds is not None

    def add(self, page: Sequence[str], answer: Mapping[str, UpstreamImage]) -> None:
        """Add the answer to the request for `page`."""
        self.known.update(answer)
        there = {one for one, found in answer.items() if next_step.is_there(found)}
        # A list may show rows whose own requests lead nowhere, so a row without a link proves nothing.
        self.vouching |= there if len(page) == 1 else {one for one in there if answer[one].link}

    def add_refusal(self, page: Sequence[str], refused: Refused) -> None:
        """Add why the request for `page` was in vain."""
        self.refusals.append(refused)
        if len(page) > 1 and refused.http_status is not None and refused.code not in _NOT_THE_LISTS_OWN:
            self.left_open += page

    def of(self, image: ClaimedImage) -> UpstreamImage | None:
        """Return the result for an image; None if it could not be asked for."""
        return self.known.get(image.upstream_id or "")


async def ask_all(runtime: Runtime, account: ServedAccount, asked: Sequence[ClaimedImage]) -> Looks:
    """Ask for these images: many at once, and by itself what a page does not settle."""
    upstream_ids = [one.upstream_id for one in asked if one.upstream_id is not None]
    looks = Looks()
    size = account.wire.poll_page
    pages = [upstream_ids[start : start + size] for start in range(0, len(upstream_ids), size)]
    await _ask_pages(runtime, account, pages, looks)
    await _ask_left_open(runtime, account, looks)
    await _ask_list_for_one(runtime, account, upstream_ids, looks)
    if not looks.stopped:
        # An image missing from a page is not lost until its own GET says so.
        missing = [[upstream_id] for upstream_id in upstream_ids if upstream_id not in looks.known]
        await _ask_pages(runtime, account, missing, looks)
        await _ask_in_other_case(runtime, account, looks)
    await _ask_for_the_last_time(runtime, account, asked, looks)
    return looks


async def _ask_in_other_case(runtime: Runtime, account: ServedAccount, looks: Looks) -> None:
    """Ask for what is not there in another case: an answer may spell an id in a way that its own request does not."""
    lost = [one for one, found in looks.known.items() if not next_step.is_there(found)][:SINGLES]
    others = {spelling: one for one in lost for spelling in spellings([one]) if spelling != one}
    again = Looks()
    await _ask_pages(runtime, account, [[spelling] for spelling in others], again)
    for spelling in again.vouching:
        one = others[spelling]
        looks.known[one] = replace(again.known[spelling], upstream_id=one)
        looks.vouching.add(one)


async def _ask_for_the_last_time(
    runtime: Runtime, account: ServedAccount, asked: Sequence[ClaimedImage], looks: Looks
) -> None:
    """Ask by itself for each image that ends now without a link: a page may leave the link out."""
    ends = [one.upstream_id for one in asked if one.given_up and one.upstream_id is not None]
    shown = [one for one in ends if one in looks.known and one not in looks.vouching and _is_open(looks.known[one])]
    alone = Looks()
    await _ask_pages(runtime, account, [[one] for one in shown[:SINGLES]], alone)
    looks.known.update({one: found for one, found in alone.known.items() if next_step.is_there(found)})


def _is_open(found: UpstreamImage) -> bool:
    return found.state in IMAGE_UNFINISHED and found.early_link is None


async def _ask_left_open(runtime: Runtime, account: ServedAccount, looks: Looks) -> None:
    """Ask for some images of lists that failed, each by itself: one first, in case nothing is answered at all.

    The start is random, so that every image has its turn over several polls. Neighbours are taken together, so that the
    images of one job are asked for in one poll.
    """
    if not looks.left_open:
        return
    start = runtime.random.randrange(len(looks.left_open))
    chosen = (looks.left_open[start:] + looks.left_open[:start])[:SINGLES]
    failed = len(looks.refusals)
    await _ask_pages(runtime, account, [chosen[:1]], looks)
    if len(looks.refusals) == failed and looks.no_room_seconds is None:
        await _ask_pages(runtime, account, [[one] for one in chosen[1:]], looks)


async def _ask_list_for_one(
    runtime: Runtime, account: ServedAccount, upstream_ids: Sequence[str], looks: Looks
) -> None:
    """Ask the list for the only image of this poll, if the request for it failed."""
    if len(upstream_ids) != 1 or account.wire.poll_page <= 1 or looks.known or not looks.refusals:
        return
    refused = looks.refusals[0]
    if refused.http_status is None or refused.code in _NOT_THE_LISTS_OWN or refused.again is RetryRule.RESUME:
        return
    listed = Looks()
    # A wire asks its list only for more than one.
    await _ask_pages(runtime, account, [[upstream_ids[0]] * 2], listed)
    looks.known.update(listed.known)
    looks.vouching |= listed.vouching


async def _ask_pages(runtime: Runtime, account: ServedAccount, pages: Sequence[Sequence[str]], looks: Looks) -> None:
    if not pages:
        return
    granted, wait = await runtime.in_transaction(rate_windows.grant, account.name, "poll", len(pages))
    async with anyio.create_task_group() as group:
        for page in pages[:granted]:
            group.start_soon(_ask_page, account, page, looks)
    if granted < len(pages):
        looks.no_room_seconds = wait


async def _ask_page(account: ServedAccount, page: Sequence[str], looks: Looks) -> None:
    try:
        answer = await account.wire.poll(page)
    except Exception as error:  # noqa: BLE001 - one page's defect must keep no job from its bound
        _log.exception("wire_defect", account=account.name, images=len(page))
        note = f"a defect in the wire ({type(error).__name__})"
        answer = Refused(Outcome.REJECTED, RetryRule.NEVER, "provider_error", note)
    if isinstance(answer, Refused):
        looks.add_refusal(page, answer)
    else:
        looks.add(page, answer)
