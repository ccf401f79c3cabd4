"""OpenRouter's wire (POST /images): the answer carries the images themselves, and what they cost."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, BinaryIO, ClassVar, Final

from shared.lifecycle import ImageState, Outcome
from worker.paid_post import Reply, Sink
from worker.providers.amount import amount_of, cost_of
from worker.providers.asking import ask
from worker.providers.contract import (
    Accepted,
    AccountFacts,
    Again,
    FindBy,
    Found,
    PaidCall,
    Refused,
    UnreadableError,
    UpstreamImage,
    WireSettings,
    member,
    read_json,
)
from worker.providers.inline_answer import values, write_base64
from worker.providers.refusals import NAMED, Row, refused, unreadable, without_answer

_NO = Outcome.REJECTED
_ERRORS: Final = (
    *(
        Row(400, word, "content_refused", _NO, Again.NEVER)
        for word in ("moderation", "content_policy_violation", "refusal")
    ),
    Row(400, None, "provider_rejected", _NO, Again.NEVER),
    Row(401, None, "account_unauthorized", _NO, Again.RESUME),
    Row(402, None, "account_out_of_credit", _NO, Again.RESUME),
    *(
        Row(403, word, "content_refused", _NO, Again.NEVER)
        for word in ("moderation", "content_policy_violation", "refusal")
    ),
    Row(403, None, "account_forbidden", _NO, Again.RESUME),
    Row(404, NAMED, "not_found", _NO, Again.NEVER),
    Row(413, None, "provider_rejected", _NO, Again.NEVER),
    Row(422, None, "provider_rejected", _NO, Again.NEVER),
    Row(429, None, "rate_limited", _NO, Again.AFTER),
    # OpenRouter's own 502, "failed or aborted", is documented as not billed; a gateway's page says nothing of the kind.
    Row(502, NAMED, "provider_unavailable", _NO, Again.AFTER),
    # Nor do the others say whether a model ran.
    *(
        Row(status, None, "provider_error", Outcome.UNKNOWN, Again.AFTER)
        for status in (408, 500, 502, 503, 504, 524, 529)
    ),
)
_MOST_IMAGES: Final = 100
_ID_CHARS: Final = 200


class OpenRouter:
    """One OpenRouter key."""

    poll_batch: ClassVar[int] = 0
    submit_batch: ClassVar[int] = 2
    find_by: ClassVar[FindBy] = "usage"
    inline: ClassVar[bool] = True

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /images into the call's sink; what was bought is then read from there: see `receipt.kept`."""
        if call.sink is None:
            note = "a defect of ours: no place to keep the images of the answer"
            return Refused(Outcome.NOT_SENT, Again.NEVER, "provider_rejected", note)
        url = f"{self._settings.base_url}/images"
        result = await self._settings.post.send(
            url, headers=self._headers, json=call.body, send_before=call.send_before, sink=call.sink
        )
        if not isinstance(result, Reply):
            return without_answer(result)
        if not 200 <= result.status < 300:
            return refused(result, _ERRORS, key=self._settings.api_key)
        return Accepted(result.status, (), upstream_id=_generation_id(result.headers))

    async def poll(self, upstream_ids: Sequence[str]) -> Refused:
        """Refuse: the images were in the answer, and nowhere else."""
        message = f"OpenRouter cannot be asked about {len(upstream_ids)} image(s) again"
        return Refused(Outcome.REJECTED, Again.NEVER, "result_expired", message)

    async def find(self, _call: PaidCall | None, _since: datetime, _owned: Collection[str] = ()) -> Found | Refused:
        """Find nothing: an image that was not delivered cannot be asked for, and is not billed."""
        return Found((), complete=False)

    async def used(self) -> Decimal | Refused:
        """GET /key: its usage in USD, and what its calls cost its owner at model providers of the owner's own."""
        reply = await ask(self._settings, "/key", _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            return _used(member(read_json(reply.body), "data"))
        except UnreadableError as error:
            return unreadable(reply, error)

    async def account(self) -> AccountFacts | Refused:
        """GET /credits: what was bought less what was used, in USD."""
        reply = await ask(self._settings, "/credits", _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            data = member(read_json(reply.body), "data")
            bought, used = amount_of(member(data, "total_credits")), amount_of(member(data, "total_usage"))
        except UnreadableError:
            return AccountFacts(None)
        return AccountFacts(None if bought is None or used is None else bought - used)

    def read_reply(self, file: BinaryIO) -> Accepted:
        """Count the images and read the cost; the status is not in the answer, 200 stands for it."""
        images, cost = 0, None
        for path, value in values(file):
            if _is_image(path, value):
                images += 1
            elif path == "usage.cost":
                cost = cost_of(value)
            if images > _MOST_IMAGES:
                raise UnreadableError(f"more than {_MOST_IMAGES} images in the answer")
        if not images:
            raise UnreadableError("no images in the answer")
        return Accepted(200, (UpstreamImage(ImageState.READY),) * images, settled=cost)

    def extract(self, file: BinaryIO, index: int, sink: Sink) -> None:
        """Decode the image at `index`, counted as `read_reply` does, into `sink`."""
        images = (value for path, value in values(file) if _is_image(path, value))
        image = next(islice(images, index, None), None)
        if image is None:
            raise UnreadableError(f"no image {index} in the answer")
        write_base64(image, sink)


def _used(key: Any) -> Decimal:
    usage, elsewhere = cost_of(member(key, "usage")), cost_of(key.get("byok_usage", 0))
    if usage is None or elsewhere is None:
        raise UnreadableError("a usage that is no amount")
    return usage + elsewhere


def _is_image(path: str, value: Any) -> bool:
    return path == "data.[].b64_json" and isinstance(value, str) and bool(value)


def _generation_id(headers: Mapping[str, str]) -> str | None:
    """Return the header that other endpoints document, for look-ups by a person; no more of it than is an id."""
    given = headers.get("x-generation-id", "").strip()
    return given if 0 < len(given) <= _ID_CHARS and given.isprintable() else None


WIRE: Final = OpenRouter
