"""Bloom's wire (trybloom.ai, OpenAPI 1.0.0): submit, then ask for up to fifty pictures at once."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final
from urllib.parse import quote

from shared.lifecycle import ImageState, Outcome
from worker.paid_post import Reply
from worker.providers.amount import amount_of
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
    member,
    read_json,
    readable,
    same_words,
    text_of,
)
from worker.providers.receipt import receipt
from worker.providers.refusals import Row, line_of, moment, unreadable

_NO = Outcome.REJECTED
_ERRORS: Final = (
    Row(400, None, "provider_rejected", _NO, Again.NEVER),
    Row(401, None, "account_unauthorized", _NO, Again.RESUME),
    Row(402, None, "account_out_of_credit", _NO, Again.RESUME),
    Row(403, "FEATURE_NOT_ENTITLED", "not_entitled", _NO, Again.NEVER),
    Row(403, None, "account_forbidden", _NO, Again.RESUME),
    Row(404, "REFERENCE_IMAGE_NOT_FOUND", "not_found", _NO, Again.NEVER),
    Row(409, "BRAND_NOT_READY", "brand_not_ready", _NO, Again.AFTER),
    Row(422, None, "provider_rejected", _NO, Again.NEVER),
    Row(429, None, "rate_limited", _NO, Again.AFTER),
)
_ASKING_ERRORS: Final = (Row(404, "IMAGE_NOT_FOUND", GONE, _NO, Again.NEVER), *_ERRORS)
_STATES: Final = {
    "pending": ImageState.PENDING,
    "generating": ImageState.PROCESSING,
    "completed": ImageState.READY,
    "failed": ImageState.FAILED,
}
_MOST_PAGES: Final = 5  # of one look-up
_MOST_SWEPT: Final = 100  # of one search through everything: more than an hour brings
_FAILURES: Final = {
    "content_safety": ("content_refused_after_purchase", "refused by Bloom's safety check"),
    "rate_limited": ("generation_failed", "Bloom was rate limited while it drew"),
}


class Bloom:
    """One Bloom account."""

    poll_batch: ClassVar[int] = 50
    submit_batch: ClassVar[int] = 10
    find_by: ClassVar[FindBy] = "prompt"
    inline: ClassVar[bool] = False

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"x-api-key": settings.api_key.get_secret_value()}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /images/generations: 202 with one id for each variant."""
        url = f"{self._settings.base_url}/images/generations"
        result = await self._settings.post.send(
            url, headers=self._headers, json=call.body, send_before=call.send_before
        )
        return receipt(result, _accepted, _ERRORS, key=self._settings.api_key)

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """GET /images?ids=: what the page lacks is left out; only its own GET may say that it is gone."""
        if len(upstream_ids) == 1:
            return await self._ask_one(upstream_ids[0])
        reply = await self._get("/images", {"ids": ",".join(upstream_ids), "limit": 100})
        if isinstance(reply, Refused):
            # One id that Bloom does not accept must not keep the others from being asked about, each by itself.
            return {} if reply.code == "provider_rejected" else reply
        try:
            listed = readable(member(read_json(reply.body), "data", "images"), self._listed)
        except UnreadableError as error:
            return unreadable(reply, error)
        return dict(listed)

    async def find(self, call: PaidCall | None, since: datetime, _owned: Collection[str] = ()) -> Found | Refused:
        """List what was generated since, of the call's brand and with its prompt, newest first."""
        parameters: dict[str, Any] = {"source": "generated", "limit": 100}
        if call is not None:
            parameters["brandSessionId"] = call.body.get("brandSessionId")
        found: dict[str, Candidate] = {}
        complete, whole = False, True
        for _ in range(_MOST_PAGES if call is not None else _MOST_SWEPT):
            reply = await self._get("/images", parameters)
            if isinstance(reply, Refused):
                return reply
            try:
                page = member(read_json(reply.body), "data")
                listed = readable(member(page, "images"), _made)
                whole = whole and len(listed) == len(page["images"])
            except UnreadableError as error:
                return unreadable(reply, error)
            made_since = [(made, said) for made, said in listed if made.made_at >= since]
            asked = [made for made, said in made_since if call is None or same_words(said, call.body.get("prompt"))]
            found.update({made.upstream_id: made for made in asked})
            cursor = page.get("nextCursor")
            complete = len(made_since) < len(listed) or not isinstance(cursor, str) or not cursor
            if complete:
                break
            parameters["cursor"] = cursor
        return Found(tuple(found.values()), complete and whole)

    async def account(self) -> AccountFacts | Refused:
        """GET /credits, of the key's own workspace: what is left; GET /brands: whether a brand may generate."""
        reply = await self._get("/credits", {})
        if isinstance(reply, Refused):
            return reply
        brands = await self._get("/brands", {})
        notes = () if isinstance(brands, Refused) else _brand_notes(brands)
        with suppress(UnreadableError):
            return AccountFacts(_balance(member(read_json(reply.body), "data")), notes)
        return AccountFacts(None, notes)

    async def _ask_one(self, upstream_id: str) -> Mapping[str, UpstreamImage] | Refused:
        reply = await self._get(f"/images/{quote(upstream_id, safe='')}", {})
        if isinstance(reply, Refused):
            return {upstream_id: gone(upstream_id, "Bloom")} if reply.code == GONE else reply
        try:
            return {upstream_id: self._image(member(read_json(reply.body), "data"), upstream_id)}
        except UnreadableError as error:
            return unreadable(reply, error)

    async def _get(self, path: str, params: Mapping[str, Any]) -> Reply | Refused:
        return await ask(self._settings, path, _ASKING_ERRORS, headers=self._headers, params=params)

    def _listed(self, item: Any) -> tuple[str, UpstreamImage]:
        upstream_id = text_of(member(item, "id"))
        return upstream_id, self._image(item, upstream_id)

    def _image(self, item: Any, upstream_id: str) -> UpstreamImage:
        # A word the document does not know yet is work in progress; the job's own bound ends it.
        state = _STATES.get(str(member(item, "status")), ImageState.PROCESSING)
        link = item.get("imageUrl")
        if state is ImageState.FAILED:
            unnamed = ("generation_failed", "Bloom gave no reason")
            code, message = _FAILURES.get(str(item.get("failureReason")), unnamed)
            return UpstreamImage(state, upstream_id, error_code=code, error=message)
        if state is not ImageState.READY:
            return UpstreamImage(state, upstream_id)
        if not link:
            return UpstreamImage(ImageState.PROCESSING, upstream_id)
        # The short link redirects to signed storage and does not expire itself; it may be relative.
        return UpstreamImage(state, upstream_id, link=link_of(link, self._settings.base_url))


def _accepted(status: int, answer: Any) -> Accepted:
    data = member(answer, "data")
    listed = data.get("ids") if isinstance(data, dict) else None
    # The vendor's own example reads `imageIds` where the document says `ids`.
    ids = dict.fromkeys(readable(listed or member(data, "imageIds"), text_of))
    if not ids:
        raise UnreadableError("no ids in the answer")
    images = tuple(UpstreamImage(ImageState.PENDING, upstream_id) for upstream_id in ids)
    return Accepted(status, images, upstream_id=images[0].upstream_id)


def _made(item: Any) -> tuple[Candidate, str]:
    made_at = moment(member(item, "createdAt"))
    prompt = member(item, "prompt")
    if not isinstance(prompt, str):
        raise UnreadableError("a picture without a prompt")
    return Candidate(text_of(member(item, "id")), made_at), prompt


def _balance(credit: Any) -> Decimal | None:
    unlimited = isinstance(credit, dict) and credit.get("unlimited") is True
    return None if unlimited else amount_of(member(credit, "balance"))


def _brand_notes(reply: Reply) -> tuple[str, ...]:
    """Say which brands cannot generate yet, and why; only a `ready` one can."""
    with suppress(UnreadableError):
        brands = readable(
            member(read_json(reply.body), "data", "brands"),
            lambda item: (line_of(member(item, "name")), line_of(member(item, "status"))),
        )
        return tuple(f"brand {name} is {status}" for name, status in brands if status != "ready")
    return ()


WIRE: Final = Bloom
