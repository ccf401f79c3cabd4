"""Bloom's wire (trybloom.ai, OpenAPI 1.0.0): submit, then ask for up to fifty pictures at once."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import quote

from pydantic import SecretStr

from shared.lifecycle import ImageState, Outcome
from worker.providers.amount import amount_of
from worker.providers.asking import GONE, ask, gone
from worker.providers.contract import (
    MOST_READ,
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
from worker.providers.listed import (
    check_whole,
    id_of,
    is_local,
    more_rows,
    of_asked,
    rows_of,
    time_of,
    total_of,
    words_of,
)
from worker.providers.reading import (
    UnreadableError,
    check_id,
    list_of,
    member,
    read_json,
    readable,
    repetition,
    row_of,
    size_of,
    text_of,
    usable_link,
)
from worker.providers.receipt import receipt
from worker.providers.refusals import NAMED, RefusalRule, unreadable
from worker.providers.state_words import ABSENT, told
from worker.providers.wording import line_of
from worker.transport.paid_post import PaidReply

_NO = Outcome.REJECTED
_ERRORS: Final = (
    RefusalRule(400, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(401, None, "account_unauthorized", _NO, RetryRule.RESUME),
    RefusalRule(402, None, "account_out_of_credit", _NO, RetryRule.RESUME),
    RefusalRule(403, "FEATURE_NOT_ENTITLED", "not_entitled", _NO, RetryRule.NEVER),
    RefusalRule(403, NAMED, "account_forbidden", _NO, RetryRule.RESUME),
    RefusalRule(404, "REFERENCE_IMAGE_NOT_FOUND", "not_found", _NO, RetryRule.NEVER),
    RefusalRule(409, "BRAND_NOT_READY", "brand_not_ready", _NO, RetryRule.AFTER),
    RefusalRule(422, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(429, None, "rate_limited", _NO, RetryRule.AFTER),
)
_ASKING_ERRORS: Final = (RefusalRule(404, "IMAGE_NOT_FOUND", GONE, _NO, RetryRule.NEVER), *_ERRORS)
_STATES: Final = {
    "pending": ImageState.PENDING,
    "generating": ImageState.PROCESSING,
    "completed": ImageState.READY,
    "failed": ImageState.FAILED,
}
_STATED: Final = {
    "aspectRatio": re.compile(r"\s*\d{1,3}\s*[:x]\s*\d{1,3}\s*", re.IGNORECASE),
    "brandSessionId": re.compile(r"\s*[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\s*", re.IGNORECASE),
}
_CURSOR_CHARS: Final = 4096
_NAME_CHARS: Final = 100
_MOST_NAMED: Final = 10  # brands in one note
_REFUSED: Final = "content_refused_after_purchase"
_FAILURES: Final = {
    "content_safety": (_REFUSED, "refused by Bloom's safety check"),
    "rate_limited": ("generation_failed", "Bloom was rate limited while it drew"),
}


class Bloom:
    """One Bloom account."""

    poll_page: ClassVar[int] = 50
    submit_parcel: ClassVar[int] = 10
    find_by: ClassVar[FindBy] = "prompt"
    most_pages: ClassVar[int] = 20  # of the 120 requests a minute
    inline: ClassVar[bool] = False

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"x-api-key": settings.api_key.get_secret_value()}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /images/generations: 202 with one id for each variant."""
        url = f"{self._settings.base_url}/images/generations"
        result = await self._settings.post.send(
            url, headers=self._headers, json=call.body, send_before=call.send_before, spill=call.sink
        )
        return receipt(result, _accepted, _ERRORS, key=self._settings.api_key)

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """GET /images?ids=: what the page lacks is left out; only its own GET may say that it is gone."""
        if len(upstream_ids) == 1:
            return await self._ask_one(upstream_ids[0])
        reply = await self._get("/images", {"ids": ",".join(upstream_ids), "limit": 100}, answer_at=["data.images"])
        if isinstance(reply, Refused):
            # One id that Bloom does not accept must not keep the others from being asked about, each by itself.
            return {} if reply.code == "provider_rejected" else reply
        try:
            listed = readable(member(read_json(reply.body), "data", "images"), self._listed)
        except UnreadableError as error:
            return unreadable(reply, error)
        return {one: image for one, image in of_asked(listed, upstream_ids).items() if not image.is_vague}

    async def page(self, following: str | None = None) -> Page | Refused:
        """GET /images of all brands, newest first: what was generated, a hundred rows at a time."""
        cursor = {"cursor": following} if following else {}
        reply = await self._get("/images", {"source": "generated", "limit": 100, **cursor})
        if isinstance(reply, Refused):
            return reply
        try:
            check_whole(answer := read_json(reply.body))
            data = member(answer, "data")
            rows = rows_of(list_of(member(data, "images")), _made)
        except UnreadableError as error:
            return unreadable(reply, error)
        more = not _is_end(data, None if following else len(rows))
        return Page(rows, more, _cursor(data), total=total_of(data), fault=repetition(reply.body))

    async def account(self) -> AccountFacts | Refused:
        """GET /credits, of the key's own workspace: what is left; GET /brands: whether a brand may generate."""
        reply = await self._get("/credits", {})
        if isinstance(reply, Refused):
            return reply
        brands = await self._get("/brands", {})
        notes = () if isinstance(brands, Refused) else _brand_notes(brands, self._settings.api_key)
        with suppress(UnreadableError):
            return AccountFacts(_balance(member(read_json(reply.body), "data")), notes)
        return AccountFacts(None, notes)

    async def _ask_one(self, upstream_id: str) -> Mapping[str, UpstreamImage] | Refused:
        reply = await self._get(
            f"/images/{quote(upstream_id, safe='')}", {}, answer_at=["data.status", "data.imageUrl"]
        )
        if isinstance(reply, Refused):
            return {upstream_id: gone(upstream_id, "Bloom")} if reply.code == GONE else reply
        try:
            return {upstream_id: self._answered(row_of(read_json(reply.body), upstream_id), upstream_id)}
        except UnreadableError as error:
            return unreadable(reply, error)

    async def _get(self, path: str, params: Mapping[str, Any], *, answer_at: Sequence[str] = ()) -> PaidReply | Refused:
        table, headers = _ASKING_ERRORS, self._headers
        return await ask(self._settings, path, table, headers=headers, params=params, answer_at=answer_at)

    def _listed(self, item: Any) -> tuple[str, UpstreamImage]:
        upstream_id = text_of(member(item, "id"))
        return upstream_id, self._image(item, upstream_id)

    def _answered(self, item: Any, upstream_id: str) -> UpstreamImage:
        image = self._image(item, upstream_id)
        check_id(item.get("id"), upstream_id)
        return image

    def _image(self, item: Any, upstream_id: str) -> UpstreamImage:
        # The short link redirects to signed storage and does not expire itself; it may be relative.
        link = usable_link(item.get("imageUrl"), self._settings.base_url) if isinstance(item, dict) else None
        word = item.get("status", ABSENT) if link else member(item, "status")
        said = told(word, _STATES, linked=link is not None, key=self._settings.api_key)
        state, stated = said.state, size_of(item)
        if state is ImageState.FAILED:
            unnamed = ("generation_failed", "Bloom gave no reason")
            code, message = _FAILURES.get(str(item.get("failureReason")), unnamed)
            # Only a refusal is final by its nature; Bloom may try again whatever else failed.
            image = UpstreamImage(state, upstream_id, error_code=code, error=message, sure=code == _REFUSED)
            return image if image.sure else replace(image, early_link=link, stated=stated)
        if said.is_open:
            return UpstreamImage(state, upstream_id, unknown_word=said.unknown, early_link=link, stated=stated)
        if link is None:
            return UpstreamImage(ImageState.PROCESSING, upstream_id, lacks_link=True)
        return UpstreamImage(state, upstream_id, link=link, stated=stated)


def _accepted(status: int, answer: Any) -> Accepted:
    data = member(answer, "data")
    listed = data.get("ids") if isinstance(data, dict) else None
    # The vendor's own example reads `imageIds` where the document says `ids`; an answer may have both.
    given = list_of(listed or member(data, "imageIds"))
    more = data.get("imageIds")
    given = [*given, *(one for one in more if one not in given)] if isinstance(more, list) else given
    ids = dict.fromkeys(readable(given, text_of, most=MOST_READ))
    if not ids:
        raise UnreadableError("no ids in the answer")
    images = tuple(UpstreamImage(ImageState.PENDING, upstream_id) for upstream_id in ids)
    # "One image id and one charge each."
    left_out = len(given) - len(ids)
    return Accepted(status, images, upstream_id=images[0].upstream_id, left_out=left_out, charged_images=len(given))


def _made(item: dict[str, Any]) -> Listed:
    stated = [(name, str(item.get(name))) for name in _STATED if _STATED[name].fullmatch(str(item.get(name)))]
    words, made_at = words_of(item.get("prompt")), item.get("createdAt")
    local = is_local(made_at)
    return Listed(id_of(item.get("id")), time_of(made_at), words, is_local=local, stated=tuple(stated))


def _is_end(data: dict[str, Any], seen: int | None) -> bool:
    """Tell whether a page says plainly that it is the last: without a cursor, whatever else it says is no end."""
    plainly = any(data.get(name) is False for name in ("hasMore", "has_more"))
    return plainly and more_rows(data, seen) is False


def _cursor(data: dict[str, Any]) -> str | None:
    """Return what asks for the next page; a number is sent back as text."""
    given = next((data[name] for name in ("nextCursor", "next_cursor") if data.get(name)), None)
    cursor = str(given) if isinstance(given, int) and not isinstance(given, bool) else words_of(given)
    return cursor if cursor and len(cursor) <= _CURSOR_CHARS else None


def _balance(credit: Any) -> Decimal | None:
    unlimited = isinstance(credit, dict) and credit.get("unlimited") is True
    return None if unlimited else amount_of(member(credit, "balance"))


def _brand_notes(reply: PaidReply, key: SecretStr) -> tuple[str, ...]:
    """Say which brands cannot generate yet, and why; only a `ready` one can."""
    line = partial(line_of, key=key, most=_NAME_CHARS)
    with suppress(UnreadableError):
        brands = readable(
            member(read_json(reply.body), "data", "brands"),
            lambda item: (line(member(item, "name")), line(member(item, "status"))),
        )
        unready = [f"brand {name} is {status}" for name, status in brands if status != "ready"]
        more = [f"and {len(unready) - _MOST_NAMED} more"] if len(unready) > _MOST_NAMED else []
        return (*unready[:_MOST_NAMED], *more)
    return ()


WIRE: Final = Bloom
