"""OpenRouter's wire (POST /images): the answer carries the images themselves, and what they cost."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, BinaryIO, ClassVar, Final

import ijson

from shared.lifecycle import ImageState, Outcome
from worker.paid_post import Reply, Sink
from worker.providers.asking import ask
from worker.providers.contract import (
    Accepted,
    AccountFacts,
    Again,
    Candidate,
    PaidCall,
    Refused,
    UnreadableError,
    UpstreamImage,
    WireSettings,
    member,
    read_json,
)
from worker.providers.refusals import Row, refused, unreadable, without_answer

_NO = Outcome.REJECTED
_ERRORS: Final = (
    Row(400, "content_policy_violation", "content_refused", _NO, Again.NEVER),
    Row(400, "refusal", "content_refused", _NO, Again.NEVER),
    Row(400, "moderation", "content_refused", _NO, Again.NEVER),
    Row(400, None, "provider_rejected", _NO, Again.NEVER),
    Row(401, None, "account_unauthorized", _NO, Again.RESUME),
    Row(402, None, "account_out_of_credit", _NO, Again.RESUME),
    Row(403, "moderation", "content_refused", _NO, Again.NEVER),
    Row(403, None, "account_forbidden", _NO, Again.RESUME),
    Row(404, None, "not_found", _NO, Again.NEVER),
    Row(413, None, "provider_rejected", _NO, Again.NEVER),
    Row(422, None, "provider_rejected", _NO, Again.NEVER),
    Row(429, None, "rate_limited", _NO, Again.AFTER),
    # "Generation failed or aborted" is documented as not billed.
    Row(502, None, "provider_unavailable", _NO, Again.AFTER),
    # The others say nothing about whether a model ran.
    *(Row(status, None, "provider_error", Outcome.UNKNOWN, Again.AFTER) for status in (408, 500, 503, 504, 524, 529)),
)
_IMAGE: Final = "data.item.b64_json"
_BLOCK: Final = 256 * 1024  # a multiple of four: base64 is cut between its groups
_MOST_IMAGES: Final = 100
_DEAREST: Final = Decimal(1_000_000)  # USD; a figure beyond it is no price


class OpenRouter:
    """One OpenRouter key."""

    poll_batch: ClassVar[int] = 0
    submit_batch: ClassVar[int] = 2
    inline: ClassVar[bool] = True

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /images into the call's sink; what was bought is then read from there with `read_reply`."""
        url = f"{self._settings.base_url}/images"
        result = await self._settings.post.send(
            url, headers=self._headers, json=call.body, send_before=call.send_before, sink=call.sink
        )
        if not isinstance(result, Reply):
            return without_answer(result)
        if not 200 <= result.status < 300:
            return refused(result, _ERRORS, key=self._settings.api_key)
        return Accepted(result.status, (), upstream_id=result.headers.get("x-generation-id"))

    async def poll(self, upstream_ids: Sequence[str]) -> Refused:
        """Refuse: the images were in the answer, and nowhere else."""
        message = f"OpenRouter cannot be asked about {len(upstream_ids)} image(s) again"
        return Refused(Outcome.REJECTED, Again.NEVER, "result_expired", message)

    async def find(self, _call: PaidCall, _since: datetime) -> Sequence[Candidate] | Refused:
        """Find nothing: an image that was not delivered cannot be asked for, and is not billed."""
        return ()

    async def account(self) -> AccountFacts | Refused:
        """GET /credits: what was bought less what was used, in USD."""
        reply = await ask(self._settings, "/credits", _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            data = member(read_json(reply.body), "data")
            return AccountFacts(Decimal(str(member(data, "total_credits"))) - Decimal(str(member(data, "total_usage"))))
        except (UnreadableError, InvalidOperation) as error:
            return AccountFacts(None) if isinstance(error, InvalidOperation) else unreadable(reply, error)

    def read_reply(self, file: BinaryIO) -> Accepted:
        """Count the images and read the cost; one image is in memory at a time."""
        images, cost = 0, None
        for prefix, event, value in _events(file):
            if prefix == _IMAGE and event == "string" and value:
                images += 1
            elif prefix == "usage.cost" and event == "number":
                cost = _cost(value)
            if images > _MOST_IMAGES:
                raise UnreadableError(f"more than {_MOST_IMAGES} images in the answer")
        if not images:
            raise UnreadableError("no images in the answer")
        return Accepted(200, (UpstreamImage(ImageState.READY),) * images, settled=cost)

    def extract(self, file: BinaryIO, index: int, sink: Sink) -> None:
        """Decode the image at `index` into `sink`."""
        seen = -1
        for prefix, event, value in _events(file):
            seen += prefix == _IMAGE and event == "string" and bool(value)
            if seen == index and prefix == _IMAGE:
                _decode(value, sink)
                return
        raise UnreadableError(f"no image {index} in the answer")


def _events(file: BinaryIO) -> Iterator[tuple[str, str, Any]]:
    try:
        yield from ijson.parse(file)
    except (ijson.JSONError, UnicodeDecodeError):
        raise UnreadableError("an answer that is not whole JSON") from None


def _decode(text: Any, sink: Sink) -> None:
    try:
        for start in range(0, len(text), _BLOCK):
            sink.write(base64.b64decode(text[start : start + _BLOCK], validate=True))
    except (binascii.Error, ValueError):
        raise UnreadableError("an image that is not base64") from None


def _cost(value: Any) -> Decimal | None:
    with suppress(InvalidOperation):
        cost = Decimal(str(value))
        return cost if cost.is_finite() and 0 <= cost < _DEAREST else None
    return None
