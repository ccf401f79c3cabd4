"""Bloom's wire (trybloom.ai, OpenAPI 1.0.0): submit, then ask for up to fifty pictures at once."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urljoin

from shared.lifecycle import ImageState, Outcome
from worker.paid_post import Reply
from worker.providers.contract import (
    Accepted,
    Again,
    Refused,
    UnreadableError,
    UpstreamImage,
    WireSettings,
    member,
    read_json,
)
from worker.providers.refusals import ErrorBody, Row, refused, unreadable, without_answer

_NO = Outcome.REJECTED
_ERRORS: Final = (
    Row(400, None, "provider_rejected", _NO, Again.NEVER),
    Row(401, None, "account_unauthorized", _NO, Again.RESUME),
    Row(402, None, "account_out_of_credit", _NO, Again.RESUME),
    Row(403, "FEATURE_NOT_ENTITLED", "not_entitled", _NO, Again.NEVER),
    Row(403, None, "account_forbidden", _NO, Again.RESUME),
    Row(404, None, "not_found", _NO, Again.NEVER),
    Row(409, "BRAND_NOT_READY", "brand_not_ready", _NO, Again.AFTER),
    Row(422, None, "provider_rejected", _NO, Again.NEVER),
    Row(429, None, "rate_limited", _NO, Again.AFTER),
)
_STATES: Final = {
    "pending": ImageState.PENDING,
    "generating": ImageState.PROCESSING,
    "completed": ImageState.READY,
    "failed": ImageState.FAILED,
}
_FAILURES: Final = {
    "content_safety": ("content_refused_after_purchase", "refused by Bloom's safety check"),
    "rate_limited": ("generation_failed", "Bloom was rate limited while it drew"),
}


class Bloom:
    """One Bloom account."""

    poll_batch: ClassVar[int] = 50
    submit_batch: ClassVar[int] = 10

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"x-api-key": settings.api_key.get_secret_value()}

    async def submit(self, body: Mapping[str, Any], *, send_before: float) -> Accepted | Refused:
        """POST /images/generations: 202 with one id for each variant."""
        url = f"{self._settings.base_url}/images/generations"
        reply = await self._settings.post.send(url, headers=self._headers, json=body, send_before=send_before)
        if not isinstance(reply, Reply):
            return without_answer(reply)
        if reply.status not in {200, 202}:
            return refused(reply, _ERRORS, _error_body)
        try:
            data = member(read_json(reply.body), "data")
            # The vendor's own example reads `imageIds` where the document says `ids`.
            ids = data.get("ids") or member(data, "imageIds")
            images = tuple(UpstreamImage(ImageState.PENDING, _text(upstream_id)) for upstream_id in ids)
        except (UnreadableError, AttributeError, TypeError) as error:
            return unreadable(reply, UnreadableError(str(error)))
        if not images:
            return unreadable(reply, UnreadableError("no ids in the answer"))
        return Accepted(reply.status, images, upstream_id=images[0].upstream_id)

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """GET /images?ids=: pictures missing from the page are left out; only their own GET may say 404."""
        if len(upstream_ids) == 1:
            return await self._ask_one(upstream_ids[0])
        reply = await self._get("/images", {"ids": ",".join(upstream_ids), "limit": 100})
        if isinstance(reply, Refused):
            return reply
        try:
            listed = member(read_json(reply.body), "data", "images")
            return {_text(member(item, "id")): self._image(item) for item in listed}
        except (UnreadableError, TypeError) as error:
            return unreadable(reply, UnreadableError(str(error)))

    async def _ask_one(self, upstream_id: str) -> Mapping[str, UpstreamImage] | Refused:
        reply = await self._get(f"/images/{upstream_id}", {})
        if isinstance(reply, Refused):
            if reply.http_status != 404:
                return reply
            gone = UpstreamImage(
                ImageState.FAILED,
                upstream_id,
                error_code="upstream_gone",
                error="Bloom no longer has this image",
            )
            return {upstream_id: gone}
        try:
            return {upstream_id: self._image(member(read_json(reply.body), "data"))}
        except UnreadableError as error:
            return unreadable(reply, error)

    async def _get(self, path: str, params: Mapping[str, Any]) -> Reply | Refused:
        url = f"{self._settings.base_url}{path}"
        reply = await self._settings.get.get(url, headers=self._headers, params=params)
        if not isinstance(reply, Reply):
            return without_answer(reply)
        return reply if reply.status == 200 else refused(reply, _ERRORS, _error_body)

    def _image(self, item: Any) -> UpstreamImage:
        upstream_id = _text(member(item, "id"))
        # A word the document does not know yet is work in progress; the job's own bound ends it.
        state = _STATES.get(item.get("status"), ImageState.PROCESSING)
        link = item.get("imageUrl")
        if state is ImageState.FAILED:
            code, message = _FAILURES.get(item.get("failureReason"), ("generation_failed", "Bloom gave no reason"))
            return UpstreamImage(state, upstream_id, error_code=code, error=message)
        if state is ImageState.READY and not link:
            return UpstreamImage(ImageState.PROCESSING, upstream_id)
        if state is ImageState.READY:
            # The short link redirects to signed storage and does not expire itself; it may be relative.
            return UpstreamImage(state, upstream_id, link=urljoin(self._settings.base_url, _text(link)))
        return UpstreamImage(state, upstream_id)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UnreadableError("an id or link that is not text")
    return value


def _error_body(body: Any) -> ErrorBody:
    """Read either envelope: flat as in the OpenAPI document, or nested as in the vendor's guide and example."""
    if not isinstance(body, dict):
        raise UnreadableError("an error that is not an object")
    nested = body.get("error")
    error = nested if isinstance(nested, dict) else body
    data = error.get("data")
    action_url = data.get("action_url") if isinstance(data, dict) else None
    return ErrorBody(error.get("code"), error.get("message"), action_url)
