"""Banatie's wire (API v1): nominally asynchronous; the answer may already be the end, and carries our reference."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import quote
from uuid import UUID

from shared.lifecycle import IMAGE_UNFINISHED, ImageState, Outcome
from shared.upstream_ids import folded
from worker.providers.asking import GONE, ask, gone
from worker.providers.contract import (
    Accepted,
    AccountFacts,
    FindBy,
    Listed,
    Page,
    PaidCall,
    Refused,
    RetryRule,
    UpstreamImage,
    WireSettings,
)
from worker.providers.listed import check_whole, id_of, is_local, of_asked, offset_page, rows_of, time_of, words_of
from worker.providers.reading import (
    UnreadableError,
    check_id,
    list_of,
    member,
    read_json,
    read_proof,
    readable,
    repetition,
    row_of,
    size_of,
    text_of,
    usable_link,
)
from worker.providers.receipt import receipt
from worker.providers.refusals import NAMED, RefusalRule, unread, unreadable
from worker.providers.state_words import ABSENT, told
from worker.providers.wording import line_of
from worker.providers.wrapped import alone

_TITLE: Final = "Banatie"
_NO = Outcome.REJECTED
_ERRORS: Final = (
    RefusalRule(400, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(401, None, "account_unauthorized", _NO, RetryRule.RESUME),
    RefusalRule(402, None, "account_out_of_credit", _NO, RetryRule.RESUME),
    RefusalRule(403, NAMED, "account_forbidden", _NO, RetryRule.RESUME),
    RefusalRule(404, NAMED, "not_found", _NO, RetryRule.NEVER),
    # The row's own alias is taken; we set none ourselves.
    RefusalRule(409, "ALIAS_CONFLICT", "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(429, None, "rate_limited", _NO, RetryRule.AFTER),
    # A row may exist all the same: looked up by our reference, never sent again by itself.
    RefusalRule(500, None, "provider_error", Outcome.UNKNOWN, RetryRule.AFTER),
)
_ASKING_ERRORS: Final = (RefusalRule(404, "GENERATION_NOT_FOUND", GONE, _NO, RetryRule.NEVER), *_ERRORS)
_STATES: Final = {
    "pending": ImageState.PENDING,
    "processing": ImageState.PROCESSING,
    "success": ImageState.READY,
    "failed": ImageState.FAILED,
}
_REFUSED: Final = "content_refused_after_purchase"
# Of servers, too, one may read that their load is moderate, that a call is blocked, or what a bucket's policy denies.
_REFUSED_WORDS: Final = re.compile(
    r"safety|prohibited[ _]content|moderation|nsfw|content[ _-](policy|filter)|"
    r"(content|prompt|image|request)[ _](was |is |has been )?(blocked|refused|rejected|moderated|prohibited)\b",
    re.IGNORECASE,
)
_ERROR_CHARS: Final = 300
_REFERENCE: Final = "genqueue_submission"
_REFERENCE_CHARS: Final = 100  # ours is a UUID
_OK: Final = 200
_PAGE: Final = 100


class Banatie:
    """One Banatie project."""

    poll_page: ClassVar[int] = 100
    submit_parcel: ClassVar[int] = 2
    find_by: ClassVar[FindBy] = "reference"
    most_pages: ClassVar[int] = 5  # of the hundred requests an hour that everything shares
    inline: ClassVar[bool] = False

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"X-API-Key": settings.api_key.get_secret_value()}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /api/v1/generations with our reference in `meta`; 201 in any state, the last one included."""
        url = f"{self._settings.base_url}/api/v1/generations"
        body = {**call.body, "meta": {_REFERENCE: call.reference}}
        result = await self._settings.post.send(
            url, headers=self._headers, json=body, send_before=call.send_before, spill=call.sink
        )
        read = partial(_accepted, settings=self._settings, reference=call.reference)
        return receipt(result, read, _ERRORS, key=self._settings.api_key)

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """GET one, or list the newest hundred: list rows have no link, so a success is asked for by itself."""
        if len(upstream_ids) == 1:
            return await self._ask_one(upstream_ids[0])
        listed = await self._list()
        if isinstance(listed, Refused):
            return listed
        found = {
            upstream_id: _image(item, upstream_id, self._settings)
            for upstream_id, item in of_asked(listed, upstream_ids).items()
        }
        return {
            upstream_id: image
            for upstream_id, image in found.items()
            if image.link is not None or (image.state in IMAGE_UNFINISHED and not image.is_vague)
        }

    async def page(self, following: str | None = None) -> Page | Refused:
        """GET /api/v1/generations, newest first; its rows may leave `meta`, and so our reference, out."""
        offset = int(following or 0)
        listed = await self._rows(offset)
        if isinstance(listed, Refused):
            return listed
        rows, pagination, fault = listed
        return offset_page(rows_of(rows, _listed), pagination, offset, fault=fault)

    async def look(self, upstream_id: str) -> Listed | Refused:
        """GET one generation: its own answer has `meta`, and so our reference, which is empty where there is none."""
        found = await self._look(upstream_id, proof=True)
        if isinstance(found, Refused):
            return found
        row = _listed(found) if isinstance(found, dict) else Listed()
        if folded(row.upstream_id or "") != folded(upstream_id):
            return Listed(upstream_id)  # another's answer says nothing of this row
        unmarked = isinstance(found.get("meta"), dict) and _REFERENCE not in found["meta"]
        return replace(row, upstream_id=upstream_id, reference="" if unmarked else row.reference)

    async def account(self) -> AccountFacts | Refused:
        """Ask for one row of the list: whether the key is taken. Banatie has no balance."""
        parameters = {"limit": 1}
        reply = await ask(self._settings, "/api/v1/generations", _ERRORS, headers=self._headers, params=parameters)
        return reply if isinstance(reply, Refused) else AccountFacts(None)

    async def _look(self, upstream_id: str, *, proof: bool = False) -> Any | Refused:
        path, answer_at = _path(upstream_id), ["data.status", "data.outputImage"]
        reply = await ask(self._settings, path, _ASKING_ERRORS, headers=self._headers, answer_at=answer_at)
        if isinstance(reply, Refused):
            return reply
        try:
            # A row in an odd place is collected; it does not prove that it lacks our reference.
            return member(read_proof(reply.body), "data") if proof else row_of(read_json(reply.body), upstream_id)
        except UnreadableError as error:
            return unreadable(reply, error)

    async def _list(self) -> Sequence[tuple[str, Any]] | Refused:
        """Return the newest hundred rows that can be read, by their ids."""
        listed = await self._rows(0, answer_at=["data"])
        return listed if isinstance(listed, Refused) else readable(listed[0], _named)

    async def _rows(self, offset: int, *, answer_at: Sequence[str] = ()) -> tuple[list[Any], Any, str | None] | Refused:
        deleted = {"includeDeleted": "true"} if self._settings.with_deleted else {}
        parameters = {"limit": _PAGE, "offset": offset, **deleted}
        path, table, headers = "/api/v1/generations", _ASKING_ERRORS, self._headers
        reply = await ask(self._settings, path, table, headers=headers, params=parameters, answer_at=answer_at)
        if isinstance(reply, Refused):
            return reply
        try:
            answer = read_json(reply.body)
            if not answer_at:
                check_whole(answer)
            fault = None if answer_at else repetition(reply.body)
            return list_of(member(answer, "data")), answer.get("pagination"), fault
        except UnreadableError as error:
            return unreadable(reply, error)

    async def _ask_one(self, upstream_id: str) -> Mapping[str, UpstreamImage] | Refused:
        found = await self._look(upstream_id)
        if isinstance(found, Refused):
            return {upstream_id: gone(upstream_id, _TITLE)} if found.code == GONE else found
        try:
            check_id(found.get("id") if isinstance(found, dict) else None, upstream_id)
        except UnreadableError as error:
            return unread(_OK, error)
        return {upstream_id: _settled_image(found, upstream_id, self._settings)}


def _accepted(status: int, answer: Any, *, settings: WireSettings, reference: str) -> Accepted:
    """Read the one picture: its id, or where that is none its link, must be there."""
    data = member(answer, "data")
    if reference and _reference(data) not in {None, reference}:
        raise UnreadableError("an answer to another call")
    try:
        upstream_id: str | None = text_of(member(data, "id"))
    except UnreadableError:
        upstream_id = None
        if _settled_image(data, None, settings).link is None:
            raise
    return Accepted(status, (_settled_image(data, upstream_id, settings),), upstream_id=upstream_id)


def _settled_image(item: Any, upstream_id: str | None, settings: WireSettings) -> UpstreamImage:
    """Return the picture as its own answer has it; a success without a link is still on its way."""
    image = _image(item, upstream_id, settings)
    unlinked = image.state is ImageState.READY and image.link is None
    return UpstreamImage(ImageState.PROCESSING, upstream_id, lacks_link=True) if unlinked else image


def _image(item: Any, upstream_id: str | None, settings: WireSettings) -> UpstreamImage:
    link = _link(item, settings)
    word = item.get("status", ABSENT) if isinstance(item, dict) else None
    said = told(word, _STATES, linked=link is not None, key=settings.api_key)
    state = said.state
    if state is ImageState.FAILED:
        # Failures are free text, in which no word is certain, and Banatie tries what failed again: never `sure`.
        why = line_of(item.get("errorMessage"), settings.api_key, most=_ERROR_CHARS) or "Banatie gave no reason"
        code = _REFUSED if _REFUSED_WORDS.search(why) else "generation_failed"
        image = UpstreamImage(state, upstream_id, error_code=code, error=why, sure=False)
        return replace(image, early_link=link, stated=_size(item))
    if said.is_open:
        return UpstreamImage(state, upstream_id, unknown_word=said.unknown, early_link=link, stated=_size(item))
    # A list row has no link, nor has an answer before its file is there: asked for by itself.
    return UpstreamImage(state, upstream_id, link=link, stated=_size(item))


def _size(item: Any) -> tuple[int, int] | None:
    return size_of(alone(item.get("outputImage"))) if isinstance(item, dict) else None


def _link(item: Any, settings: WireSettings) -> str | None:
    output = alone(item.get("outputImage")) if isinstance(item, dict) else None
    return usable_link(output.get("storageUrl"), settings.base_url) if isinstance(output, dict) else None


def _reference(item: Any) -> str | None:
    """Return the reference that a submit of ours left in `meta`, None where there is none to see.

    It is a UUID, which a provider may write in another form: taken for another call's, its picture is bought again.
    """
    meta = item.get("meta") if isinstance(item, dict) else None
    reference = meta.get(_REFERENCE) if isinstance(meta, dict) else None
    if not isinstance(reference, str) or not 0 < len(reference) <= _REFERENCE_CHARS:
        return None
    with suppress(ValueError):
        return str(UUID(reference.strip()))
    return reference


def _named(item: Any) -> tuple[str, Any]:
    return text_of(member(item, "id")), item


def _listed(item: dict[str, Any]) -> Listed:
    said = words_of(item.get("originalPrompt")) or words_of(item.get("prompt"))
    made_at = item.get("createdAt")
    failed = _STATES.get(str(item.get("status")).strip().casefold()) is ImageState.FAILED
    return Listed(
        id_of(item.get("id")), time_of(made_at), said, _reference(item), is_local=is_local(made_at), failed=failed
    )


def _path(upstream_id: str) -> str:
    return f"/api/v1/generations/{quote(upstream_id, safe='')}"


WIRE: Final = Banatie
