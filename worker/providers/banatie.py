"""Banatie's wire (API v1): nominally asynchronous; the answer may already be the end, and carries our reference."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar, Final
from urllib.parse import quote

from shared.lifecycle import ImageState, Outcome
from worker.providers.asking import GONE, ask, gone
from worker.providers.contract import (
    Accepted,
    AccountFacts,
    Again,
    Candidate,
    FindBy,
    Found,
    PaidCall,
    Refused,
    UnreadableError,
    UpstreamImage,
    WireSettings,
    link_of,
    list_of,
    member,
    read_json,
    readable,
    same_words,
    text_of,
)
from worker.providers.receipt import receipt
from worker.providers.refusals import NAMED, Row, line_of, moment, unreadable

_TITLE: Final = "Banatie"
_NO = Outcome.REJECTED
_ERRORS: Final = (
    Row(400, None, "provider_rejected", _NO, Again.NEVER),
    Row(401, None, "account_unauthorized", _NO, Again.RESUME),
    Row(402, None, "account_out_of_credit", _NO, Again.RESUME),
    Row(403, None, "account_forbidden", _NO, Again.RESUME),
    Row(404, NAMED, "not_found", _NO, Again.NEVER),
    # The row's own alias is taken; we set none ourselves.
    Row(409, "ALIAS_CONFLICT", "provider_rejected", _NO, Again.NEVER),
    Row(429, None, "rate_limited", _NO, Again.AFTER),
    # A row may exist all the same: looked up by our reference, never sent again by itself.
    Row(500, None, "provider_error", Outcome.UNKNOWN, Again.AFTER),
)
_ASKING_ERRORS: Final = (Row(404, "GENERATION_NOT_FOUND", GONE, _NO, Again.NEVER), *_ERRORS)
_STATES: Final = {
    "pending": ImageState.PENDING,
    "processing": ImageState.PROCESSING,
    "success": ImageState.READY,
    "failed": ImageState.FAILED,
}
_REFUSED_WORDS: Final = re.compile(r"safety|blocked|prohibited|moderat|policy", re.IGNORECASE)
_ERROR_CHARS: Final = 300
_REFERENCE: Final = "genqueue_submission"
_PAGE: Final = 100
_MOST_PAGES: Final = 5  # of the hundred requests an hour that everything shares
_MOST_LOOKS: Final = 20


class Banatie:
    """One Banatie project."""

    poll_batch: ClassVar[int] = 100
    submit_batch: ClassVar[int] = 2
    find_by: ClassVar[FindBy] = "reference"
    inline: ClassVar[bool] = False

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"X-API-Key": settings.api_key.get_secret_value()}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /api/v1/generations with our reference in `meta`; 201 in any state, the last one included."""
        url = f"{self._settings.base_url}/api/v1/generations"
        body = {**call.body, "meta": {_REFERENCE: call.reference}}
        result = await self._settings.post.send(url, headers=self._headers, json=body, send_before=call.send_before)
        read = partial(_accepted, base_url=self._settings.base_url)
        return receipt(result, read, _ERRORS, key=self._settings.api_key)

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """GET one, or list the newest hundred: list rows have no link, so a success is asked for by itself."""
        if len(upstream_ids) == 1:
            return await self._ask_one(upstream_ids[0])
        listed = await self._list()
        if isinstance(listed, Refused):
            return listed
        wanted = set(upstream_ids)
        found = {
            upstream_id: _image(item, upstream_id, base_url=self._settings.base_url)
            for upstream_id, item in listed
            if upstream_id in wanted
        }
        return {
            upstream_id: image
            for upstream_id, image in found.items()
            if image.state in {ImageState.PENDING, ImageState.PROCESSING} or image.link is not None
        }

    async def find(self, call: PaidCall | None, since: datetime, owned: Collection[str] = ()) -> Found | Refused:
        """Look through what was made since with this prompt, the oldest first, for the one with our reference.

        Without a call, every row, with the reference that it carries. Lists may leave `meta` out, so that each row
        costs a request: at most five pages and twenty rows, and what is not looked at is left out.
        """
        rows, complete = await self._made_since(since)
        if isinstance(rows, Refused):
            return rows
        asked = [row for row in rows if row[1] not in owned and (call is None or _may_be(row[2], call))]
        found: list[Candidate] = []
        looks = 0
        for made, upstream_id, item in asked:
            reference = _reference(item)
            if reference is None:
                looks += 1
                looked = await self._look(upstream_id) if looks <= _MOST_LOOKS else None
                if isinstance(looked, Refused) and looked.code != GONE:
                    return looked if call else Found(tuple(found), complete=False)
                if looked is None:
                    complete = False
                    continue
                reference = _reference(looked)
            if call is not None and reference == call.reference:
                return Found((Candidate(upstream_id, made, reference),), complete=True)
            found.append(Candidate(upstream_id, made, reference))
        return Found(() if call else tuple(found), complete)

    async def account(self) -> AccountFacts | Refused:
        """Ask for one row of the list: whether the key is taken. Banatie has no balance."""
        parameters = {"limit": 1}
        reply = await ask(self._settings, "/api/v1/generations", _ERRORS, headers=self._headers, params=parameters)
        return reply if isinstance(reply, Refused) else AccountFacts(None)

    async def _made_since(self, since: datetime) -> tuple[Sequence[tuple[datetime, str, Any]] | Refused, bool]:
        """Page through the list, newest first; return its rows, oldest first, and whether it got back to `since`."""
        found: dict[str, tuple[datetime, str, Any]] = {}
        complete, whole = False, True
        for page in range(_MOST_PAGES):
            listed = await self._page(offset=page * _PAGE)
            if isinstance(listed, Refused):
                return listed, False
            dated = readable(listed, lambda row: (moment(member(row, "createdAt")), text_of(member(row, "id")), row))
            whole = whole and len(dated) == len(listed)
            found.update({upstream_id: (made, upstream_id, item) for made, upstream_id, item in dated if made >= since})
            complete = len(listed) < _PAGE or any(made < since for made, *_ in dated)
            if complete:
                break
        return sorted(found.values(), key=itemgetter(0)), complete and whole

    async def _look(self, upstream_id: str) -> Any | Refused:
        reply = await ask(self._settings, _path(upstream_id), _ASKING_ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            return member(read_json(reply.body), "data")
        except UnreadableError as error:
            return unreadable(reply, error)

    async def _list(self) -> Sequence[tuple[str, Any]] | Refused:
        """Return the newest hundred rows that can be read, by their ids."""
        page = await self._page()
        return page if isinstance(page, Refused) else readable(page, lambda item: (text_of(member(item, "id")), item))

    async def _page(self, *, offset: int = 0) -> list[Any] | Refused:
        parameters = {"limit": _PAGE, "offset": offset}
        reply = await ask(
            self._settings, "/api/v1/generations", _ASKING_ERRORS, headers=self._headers, params=parameters
        )
        if isinstance(reply, Refused):
            return reply
        try:
            return list_of(member(read_json(reply.body), "data"))
        except UnreadableError as error:
            return unreadable(reply, error)

    async def _ask_one(self, upstream_id: str) -> Mapping[str, UpstreamImage] | Refused:
        found = await self._look(upstream_id)
        if isinstance(found, Refused):
            return {upstream_id: gone(upstream_id, _TITLE)} if found.code == GONE else found
        return {upstream_id: _settled_image(found, upstream_id, base_url=self._settings.base_url)}


def _accepted(status: int, answer: Any, *, base_url: str) -> Accepted:
    data = member(answer, "data")
    upstream_id = text_of(member(data, "id"))
    return Accepted(status, (_settled_image(data, upstream_id, base_url=base_url),), upstream_id=upstream_id)


def _settled_image(item: Any, upstream_id: str, *, base_url: str) -> UpstreamImage:
    """Return the picture as its own answer has it; a success without a link is still on its way."""
    image = _image(item, upstream_id, base_url=base_url)
    unlinked = image.state is ImageState.READY and image.link is None
    return UpstreamImage(ImageState.PROCESSING, upstream_id) if unlinked else image


def _image(item: Any, upstream_id: str, *, base_url: str) -> UpstreamImage:
    # A word the document does not know yet is work in progress; the job's own bound ends it.
    state = _STATES.get(str(item.get("status")) if isinstance(item, dict) else "", ImageState.PROCESSING)
    if state is ImageState.FAILED:
        # Failures are free text: what names safety was refused, everything else could not be made.
        said = (line_of(item.get("errorMessage")) or "Banatie gave no reason")[:_ERROR_CHARS]
        code = "content_refused_after_purchase" if _REFUSED_WORDS.search(said) else "generation_failed"
        return UpstreamImage(state, upstream_id, error_code=code, error=said)
    if state is not ImageState.READY:
        return UpstreamImage(state, upstream_id)
    with suppress(UnreadableError):
        return UpstreamImage(state, upstream_id, link=link_of(member(item, "outputImage", "storageUrl"), base_url))
    # A list row has no link, nor has an answer before its file is there: asked for by itself.
    return UpstreamImage(state, upstream_id)


def _reference(item: Any) -> str | None:
    """Return the reference that a submit of ours left in `meta`, None where there is none to see."""
    meta = item.get("meta") if isinstance(item, dict) else None
    reference = meta.get(_REFERENCE) if isinstance(meta, dict) else None
    return reference if isinstance(reference, str) and reference else None


def _may_be(item: Any, call: PaidCall) -> bool:
    """Tell whether a row may be this call's; one that shows no prompt may be anybody's."""
    said = item.get("originalPrompt") or item.get("prompt")
    return said is None or same_words(said, call.body.get("prompt"))


def _path(upstream_id: str) -> str:
    return f"/api/v1/generations/{quote(upstream_id, safe='')}"


WIRE: Final = Banatie
