"""Asks a provider about what is bought already: free of charge, and never a reason to stop an account by itself."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from shared.lifecycle import ImageState, Outcome
from worker.providers.contract import Refused, RetryRule, UpstreamImage, WireSettings
from worker.providers.reading import UnreadableError, member, read_json
from worker.providers.refusals import RefusalRule, inside, refused, without_answer
from worker.providers.tell_tales import is_success
from worker.transport.paid_post import PaidReply

GONE: Final = "upstream_gone"
_ERROR_BYTES: Final = 64 * 1024
_OK: Final = 200


async def ask(
    settings: WireSettings,
    path: str,
    table: Sequence[RefusalRule],
    *,
    headers: Mapping[str, str],
    params: Mapping[str, Any] | None = None,
    answer_at: Sequence[str] = (),
) -> PaidReply | Refused:
    """GET `path` below the base URL, and classify by `table` what is no answer.

    A 200 without an error inside is an answer. So is any success with something at one of the places `answer_at`, such
    as "data.status": an error beside it is a warning, 202 may say that the picture is unfinished, and whole JSON counts
    although its answer broke off. A list that is to prove an absence has no such place: nothing of it may be missing.
    """
    reply = await settings.get.get(f"{settings.base_url}{path}", headers=headers, params=params or {})
    if not isinstance(reply, PaidReply):
        seen = any(_holds(reply.body, place) for place in answer_at)
        if reply.status is None or not is_success(reply.status) or not seen:
            return without_answer(reply)
        reply = PaidReply(reply.status, reply.headers, reply.body)
    if reply.status == _OK or (is_success(reply.status) and any(_holds(reply.body, place) for place in answer_at)):
        return _inside(settings, reply, table, answer_at) or reply
    refusal = refused(reply, table, key=settings.api_key)
    if refusal.code == GONE or (refusal.outcome is Outcome.REJECTED and refusal.again is RetryRule.RESUME):
        return refusal
    # Any other failed look costs nothing and passes: it neither stops an account nor ends what is bought.
    return replace(refusal, again=RetryRule.AFTER)


def _inside(
    settings: WireSettings, reply: PaidReply, table: Sequence[RefusalRule], answer_at: Sequence[str]
) -> Refused | None:
    """Return the error that an answer holds in place of what was asked for; a long one holds rows."""
    if len(reply.body) > _ERROR_BYTES or (b'"error"' not in reply.body and b'"success"' not in reply.body):
        return None
    if any(_holds(reply.body, place) for place in answer_at):
        return None
    refusal = inside(reply.status, reply.body, reply.headers, table, key=settings.api_key)
    return refusal and (refusal if refusal.again is RetryRule.RESUME else replace(refusal, again=RetryRule.AFTER))


def _holds(body: bytes, place: str) -> bool:
    with suppress(UnreadableError):
        return bool(member(read_json(body), *place.split(".")))
    return False


def gone(upstream_id: str, title: str) -> UpstreamImage:
    """Return what a picture is that its own request says is not there; a provider that restarts may say so too."""
    said = f"{title} answered 404 for this image"
    return UpstreamImage(ImageState.FAILED, upstream_id, error_code=GONE, error=said, sure=False)
