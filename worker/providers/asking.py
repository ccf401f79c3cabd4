"""Asks a provider about what is bought already: free of charge, and never a reason to stop an account by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from shared.lifecycle import ImageState, Outcome
from worker.paid_post import Reply
from worker.providers.contract import Again, Refused, UpstreamImage, WireSettings
from worker.providers.refusals import Row, refused, without_answer

GONE: Final = "upstream_gone"


async def ask(
    settings: WireSettings,
    path: str,
    table: Sequence[Row],
    *,
    headers: Mapping[str, str],
    params: Mapping[str, Any] | None = None,
) -> Reply | Refused:
    """GET `path` below the base URL; any answer but 200 is classified by `table`."""
    reply = await settings.get.get(f"{settings.base_url}{path}", headers=headers, params=params or {})
    if not isinstance(reply, Reply):
        return without_answer(reply)
    if reply.status == 200:
        return reply
    refusal = refused(reply, table, key=settings.api_key)
    if refusal.code == GONE or (refusal.outcome is Outcome.REJECTED and refusal.again is Again.RESUME):
        return refusal
    # Any other failed look costs nothing and passes: it neither stops an account nor ends what is bought.
    return replace(refusal, again=Again.AFTER)


def gone(upstream_id: str, title: str) -> UpstreamImage:
    """Return what a picture is that its own request says is not there."""
    return UpstreamImage(ImageState.FAILED, upstream_id, error_code=GONE, error=f"{title} no longer has this image")
