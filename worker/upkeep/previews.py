"""Previews: a small picture of each candidate of a lost call, so that a person can tell which one it bought.

They are made apart from the look that holds a job, one at a time. One that fails is tried again, and changes nothing.
"""

from functools import partial
from typing import Final

import anyio
import structlog

from shared.db.lost_calls import candidates
from worker.metered import metered
from worker.providers.contract import Refused
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.thumbnails.decoder import MOST_BYTES, Decoder
from worker.transport.digested import InMemory
from worker.transport.spool import TransferError

_log = structlog.get_logger(__name__)
_LOOK_SECONDS: Final = 5.0
_AT_ONCE: Final = 4
_FETCH_SECONDS: Final = 60.0


async def show_candidates(runtime: Runtime) -> None:
    """Make a preview of every candidate of the accounts that are served here, until cancelled."""
    decoder = Decoder()
    try:
        while True:
            for account in await _due(runtime):
                await preview_some(runtime, account, decoder)
            await anyio.sleep(_LOOK_SECONDS)
    finally:
        decoder.close()


async def _due(runtime: Runtime) -> list[ServedAccount]:
    """Return the accounts that lack previews; one question for all: a worker asks it forever."""
    listing = [account.name for account in runtime.accounts.values() if account.can_look]
    try:
        due = await runtime.one_statement(candidates.due, listing)
    except Exception as error:  # noqa: BLE001 - a person decides without it; the work must go on
        _log.warning("previews_failed", error=type(error).__name__)
        return []
    return [runtime.accounts[name] for name in due]


async def preview_some(runtime: Runtime, account: ServedAccount, decoder: Decoder) -> None:
    """Make the previews that an account lacks, a few at a time. Never raises."""
    try:
        for upstream_id in await runtime.in_transaction(partial(candidates.take, limit=_AT_ONCE), account.name):
            await _preview(runtime, account, decoder, upstream_id)
    except Exception as error:  # noqa: BLE001 - a person decides without it; the work must go on
        _log.warning("previews_failed", account=account.name, error=type(error).__name__)


async def _preview(runtime: Runtime, account: ServedAccount, decoder: Decoder, upstream_id: str) -> None:
    link = await _link(runtime, account, upstream_id)
    small = b"" if link is None else await _small(runtime, decoder, link)
    if not small:
        return
    key = candidates.preview_key(account.name, upstream_id)
    store = partial(runtime.storage.put, content_type="image/webp", metadata={})
    await runtime.in_thread(store, key, InMemory(small))
    await runtime.in_transaction(candidates.made, account.name, upstream_id, key)


async def _link(runtime: Runtime, account: ServedAccount, upstream_id: str) -> str | None:
    """Ask for one picture within the account's windows; None without a link. The link is used once and not kept."""
    answer = await account.searching(metered(runtime, account)).poll([upstream_id])
    image = None if isinstance(answer, Refused) else answer.get(upstream_id)
    return image.link if image else None


async def _small(runtime: Runtime, decoder: Decoder, link: str) -> bytes:
    """Return a small picture of what lies behind a link; nothing if it cannot be had."""
    try:
        with anyio.fail_after(_FETCH_SECONDS):
            fetched = await runtime.fetcher.fetch(link)
    except (TransferError, TimeoutError):
        return b""
    with fetched.spool as spool:
        if spool.length > MOST_BYTES:
            return b""
        whole: bytes = await runtime.in_thread(lambda: spool.rewound().read())
        return await runtime.in_thread(decoder.thumbnail, whole)
