"""PostEverywhere's wire (API v1): the answer is a media id, whose state is then asked for; a link may never come."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import quote

from shared.lifecycle import ImageState, Outcome
from worker.providers.amount import amount_of, cost_of
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
from worker.providers.listed import check_whole, id_of, is_local, of_asked, offset_page, rows_of, time_of
from worker.providers.reading import (
    UnreadableError,
    check_id,
    list_of,
    member,
    pixels_of,
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
from worker.providers.state_words import told

_TITLE: Final = "PostEverywhere"
_NO = Outcome.REJECTED
_ERRORS: Final = (
    RefusalRule(400, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(401, None, "account_unauthorized", _NO, RetryRule.RESUME),
    RefusalRule(402, None, "account_out_of_credit", _NO, RetryRule.RESUME),
    RefusalRule(403, NAMED, "account_forbidden", _NO, RetryRule.RESUME),
    RefusalRule(404, NAMED, "not_found", _NO, RetryRule.NEVER),
    RefusalRule(409, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(415, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(422, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(429, None, "rate_limited", _NO, RetryRule.AFTER),
    # 500 and 503 say nothing about whether the image was made and its credits taken.
    RefusalRule(500, None, "provider_error", Outcome.UNKNOWN, RetryRule.AFTER),
    RefusalRule(503, None, "provider_error", Outcome.UNKNOWN, RetryRule.AFTER),
)
_ASKING_ERRORS: Final = (RefusalRule(404, "not_found", GONE, _NO, RetryRule.NEVER), *_ERRORS)
_PAGE: Final = 100
_STATE_AT: Final = ("data.status", "data.media_status", "data.url")
_STATES: Final = {"processing": ImageState.PROCESSING, "ready": ImageState.READY, "failed": ImageState.FAILED}


class PostEverywhere:
    """One PostEverywhere account."""

    poll_page: ClassVar[int] = 100
    submit_parcel: ClassVar[int] = 2
    find_by: ClassVar[FindBy] = "time"
    most_pages: ClassVar[int] = 10  # of the 60 requests a minute
    inline: ClassVar[bool] = False

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /ai/generate-image: 201 with a media id and the credits used."""
        url = f"{self._settings.base_url}/ai/generate-image"
        result = await self._settings.post.send(
            url, headers=self._headers, json=call.body, send_before=call.send_before, spill=call.sink
        )
        return receipt(result, _accepted, _ERRORS, key=self._settings.api_key)

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """GET /media/{id}, or the newest hundred at once; what the list does not settle is asked for by itself."""
        if len(upstream_ids) == 1:
            return await self._ask_one(upstream_ids[0])
        listed = await self._list()
        if isinstance(listed, Refused):
            return listed
        asked = of_asked(listed, upstream_ids)
        found = {upstream_id: self._image(item, upstream_id) for upstream_id, item in asked.items()}
        # The list may leave out the link or the state; only a picture's own answer ends it.
        return {
            upstream_id: image
            for upstream_id, image in found.items()
            if image.link is not None or (image.state is ImageState.PROCESSING and not image.is_vague)
        }

    async def page(self, following: str | None = None) -> Page | Refused:
        """GET /media, newest first: rows show no prompt, and their size only once they are made."""
        offset = int(following or 0)
        listed = await self._rows(offset)
        if isinstance(listed, Refused):
            return listed
        rows, pagination, fault = listed
        return offset_page(rows_of(rows, _made), pagination, offset, fault=fault)

    async def account(self) -> AccountFacts | Refused:
        """GET /me: the credits that are left."""
        reply = await ask(self._settings, "/me", _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            answer = read_json(reply.body)
            # The page on this call shows it without the envelope that every other answer has.
            return _facts(answer["data"] if isinstance(answer, dict) and "data" in answer else answer)
        except UnreadableError:
            return AccountFacts(None)

    async def _list(self) -> Sequence[tuple[str, Any]] | Refused:
        """Return the newest hundred rows that can be read, by their ids."""
        listed = await self._rows(0, answer_at=["data"])
        return listed if isinstance(listed, Refused) else readable(listed[0], _row)

    async def _rows(self, offset: int, *, answer_at: Sequence[str] = ()) -> tuple[list[Any], Any, str | None] | Refused:
        parameters = {"type": "image", "limit": _PAGE, "offset": offset}
        table, headers = _ASKING_ERRORS, self._headers
        reply = await ask(self._settings, "/media", table, headers=headers, params=parameters, answer_at=answer_at)
        if isinstance(reply, Refused):
            return reply
        try:
            answer = read_json(reply.body)
            if not answer_at:
                check_whole(answer)
            data = member(answer, "data")
            return _both_lists(data), data.get("pagination"), None if answer_at else repetition(reply.body)
        except UnreadableError as error:
            return unreadable(reply, error)

    async def _ask_one(self, upstream_id: str) -> Mapping[str, UpstreamImage] | Refused:
        path = f"/media/{quote(upstream_id, safe='')}"
        reply = await ask(self._settings, path, _ASKING_ERRORS, headers=self._headers, answer_at=_STATE_AT)
        if isinstance(reply, Refused):
            return {upstream_id: gone(upstream_id, _TITLE)} if reply.code == GONE else reply
        try:
            row = row_of(read_json(reply.body), upstream_id, names=("media_id", "id"))
            return {upstream_id: self._answered(row, upstream_id)}
        except UnreadableError as error:
            return unreadable(reply, error)

    def _answered(self, item: Any, upstream_id: str) -> UpstreamImage:
        image = self._image(item, upstream_id)
        check_id(_id_in(item), upstream_id)
        return image

    def _image(self, item: Any, upstream_id: str) -> UpstreamImage:
        if not isinstance(item, dict):
            raise UnreadableError("a picture that is not an object")
        # The documents call the state `status`, the vendor's Python source `media_status`; a link needs neither.
        word = item.get("status") or item.get("media_status") or ("ready" if item.get("url") else None)
        # Never `thumbnail_url`: it is not the picture that was paid for.
        link = usable_link(item.get("url"), self._settings.base_url)
        said = told(word, _STATES, linked=link is not None, key=self._settings.api_key)
        state = said.state
        if state is ImageState.FAILED:
            why = "PostEverywhere gave no reason"
            image = UpstreamImage(state, upstream_id, error_code="generation_failed", error=why, sure=False)
            return replace(image, early_link=link, stated=size_of(item))
        if said.is_open:
            stated = size_of(item)
            return UpstreamImage(state, upstream_id, unknown_word=said.unknown, early_link=link, stated=stated)
        if link is not None:
            return UpstreamImage(state, upstream_id, link=link, stated=size_of(item))
        # The link may come later than the state.
        if self._settings.media_without_url == "succeed":
            return UpstreamImage(ImageState.UPSTREAM_ONLY, upstream_id, sure=False)
        return UpstreamImage(
            ImageState.FAILED,
            upstream_id,
            error_code="result_not_downloadable",
            error="PostEverywhere gives no link to this picture; it lies in its media library",
            sure=False,
        )


def _accepted(status: int, answer: Any) -> Accepted:
    """Only the media id must be there; the other fields differ between the documents.

    `media_id` is the documented handle and comes first, whatever else `media_ids` lists.
    """
    data = member(answer, "data")
    if not isinstance(data, dict):
        raise UnreadableError("no media id in the answer")
    ids = data.get("media_ids")
    given = ids if isinstance(ids, list) else []
    handle = data.get("media_id")
    named = [handle, *(one for one in given if one != handle)] if handle else given
    found = dict.fromkeys(readable(named, text_of, most=MOST_READ))
    if not found:
        raise UnreadableError("no media id in the answer")
    images = tuple(UpstreamImage(ImageState.PROCESSING, upstream_id) for upstream_id in found)
    return Accepted(
        status,
        images,
        upstream_id=images[0].upstream_id,
        settled=cost_of(data.get("credits_used")),
        remaining=amount_of(data.get("credits_remaining")),
        left_out=len(named) - len(images),
    )


def _facts(profile: Any) -> AccountFacts:
    quota = member(profile, "quota", "ai_credits")
    limit, used = amount_of(member(quota, "limit")), amount_of(member(quota, "used"))
    bonus = amount_of(quota.get("bonus") or 0)
    organization = profile.get("organization")
    barred = isinstance(organization, dict) and organization.get("entitled") is False
    return AccountFacts(
        None if limit is None or used is None or bonus is None else limit + bonus - used,
        ("the organization has no plan that entitles it to generate",) if barred else (),
    )


def _made(item: dict[str, Any]) -> Listed:
    return Listed(
        id_of(_id_in(item)),
        time_of(item.get("created_at")),
        is_local=is_local(item.get("created_at")),
        width=pixels_of(item.get("width")),
        height=pixels_of(item.get("height")),
    )


def _both_lists(data: Any) -> list[Any]:
    """Return the rows of a list, which the documents call `items` and the vendor's clients `media`, each once.

    An answer that has both may leave out of one what it shows in the other.
    """
    found = [data[name] for name in ("items", "media") if isinstance(data, dict) and isinstance(data.get(name), list)]
    if not found:
        return list_of(member(data, "items"))
    longer, *other = sorted(found, key=len, reverse=True)
    shown = {repr(row) for row in longer}
    return [*longer, *(row for rows in other for row in rows if repr(row) not in shown)]


def _row(item: Any) -> tuple[str, Any]:
    return text_of(_id_in(item) if isinstance(item, dict) else None), item


def _id_in(item: dict[str, Any]) -> Any:
    return item.get("media_id") or item.get("id")


WIRE: Final = PostEverywhere
