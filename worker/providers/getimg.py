"""getimg.ai's wire (v2): the answer to the POST is the result, with signed links that say when they die."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

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
from worker.providers.refusals import ErrorBody, Row, moment, refused, unreadable, without_answer

_NO = Outcome.REJECTED
_ERRORS: Final = (
    Row(400, None, "provider_rejected", _NO, Again.NEVER),
    Row(401, None, "account_unauthorized", _NO, Again.RESUME),
    Row(402, None, "account_out_of_credit", _NO, Again.RESUME),
    Row(403, None, "account_forbidden", _NO, Again.RESUME),
    Row(404, None, "not_found", _NO, Again.NEVER),
    Row(422, None, "content_refused", _NO, Again.NEVER),
    Row(429, None, "rate_limited", _NO, Again.AFTER),
)


class Getimg:
    """One getimg.ai account."""

    poll_batch: ClassVar[int] = 0
    submit_batch: ClassVar[int] = 4

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}

    async def submit(self, body: Mapping[str, Any], *, send_before: float) -> Accepted | Refused:
        """POST /v2/images/generations: 200 with links; there is no way to ask again."""
        url = f"{self._settings.base_url}/v2/images/generations"
        reply = await self._settings.post.send(url, headers=self._headers, json=body, send_before=send_before)
        if not isinstance(reply, Reply):
            return without_answer(reply)
        if reply.status != 200:
            return refused(reply, _ERRORS, _error_body)
        try:
            return _accepted(read_json(reply.body))
        except (UnreadableError, TypeError, AttributeError) as error:
            return unreadable(reply, UnreadableError(str(error)))

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """Always refused: getimg.ai cannot be asked about an image."""
        message = f"getimg.ai cannot be asked about {len(upstream_ids)} image(s) again"
        return Refused(Outcome.REJECTED, Again.NEVER, "result_expired", message)


def _accepted(answer: Any) -> Accepted:
    """Only the links must be there: nothing else may cost us images that are paid for."""
    images = tuple(_image(member(item, "url"), item) for item in member(answer, "data"))
    if not images:
        raise UnreadableError("no images in the answer")
    upstream_id = answer.get("id")
    return Accepted(200, images, upstream_id=str(upstream_id) if upstream_id else None, settled=_cost(answer))


def _image(link: Any, item: Mapping[str, Any]) -> UpstreamImage:
    """The link dies at `deletes_at` or at its own `exp`, whichever comes first."""
    moments = []
    with suppress(UnreadableError):
        moments.append(moment(item.get("deletes_at")))
    with suppress(ValueError, OverflowError, OSError):
        expires = dict(parse_qsl(urlsplit(str(link)).query)).get("exp", "")
        moments.append(datetime.fromtimestamp(int(expires), UTC))
    return UpstreamImage(ImageState.READY, link=str(link), link_expires_at=min(moments, default=None))


def _cost(answer: Mapping[str, Any]) -> Decimal | None:
    usage = answer.get("usage")
    with suppress(InvalidOperation):
        if isinstance(usage, dict) and usage.get("total_cost") is not None:
            cost = Decimal(str(usage["total_cost"]))
            return cost if cost.is_finite() and cost >= 0 else None
    return None


def _error_body(body: Any) -> ErrorBody:
    """The shape is not documented: read `error.message`, else `message`, as the vendor's other answers have it."""
    if not isinstance(body, dict):
        raise UnreadableError("an error that is not an object")
    nested = body.get("error")
    error = nested if isinstance(nested, dict) else body
    code, message = error.get("code"), error.get("message")
    return ErrorBody(code if isinstance(code, str) else None, message if isinstance(message, str) else None)
