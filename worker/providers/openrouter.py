"""OpenRouter's wire (POST /images): the answer carries the images themselves, and what they cost."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from io import BytesIO
from random import sample
from typing import Any, BinaryIO, ClassVar, Final
from urllib.parse import quote

from pydantic import SecretStr

from shared.catalog.offers import Offer
from shared.lifecycle import ImageState, Outcome
from worker.providers.amount import amount_of, cost_of
from worker.providers.asking import ask
from worker.providers.contract import (
    Accepted,
    AccountFacts,
    FindBy,
    PaidCall,
    Refused,
    RetryRule,
    UpstreamImage,
    Used,
    WireSettings,
)
from worker.providers.inline_answer import END, extract, values
from worker.providers.offering import MOST_MODELS, Offered, name_of, openrouter_offer
from worker.providers.reading import UnreadableError, list_of, member, read_json, read_proof, readable
from worker.providers.refusals import NAMED, RefusalRule, inside, refused, unreadable, without_answer
from worker.providers.tell_tales import is_success, names_picture, noted, says_where, weighed
from worker.providers.wording import redacted
from worker.transport.paid_post import Lost, NotSent, PaidReply, Sink

_NO = Outcome.REJECTED
_ERRORS: Final = (
    *(
        RefusalRule(400, word, "content_refused", _NO, RetryRule.NEVER)
        for word in ("moderation", "content_policy_violation", "refusal")
    ),
    RefusalRule(400, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(401, None, "account_unauthorized", _NO, RetryRule.RESUME),
    RefusalRule(402, None, "account_out_of_credit", _NO, RetryRule.RESUME),
    *(
        RefusalRule(403, word, "content_refused", _NO, RetryRule.NEVER)
        for word in ("moderation", "content_policy_violation", "refusal")
    ),
    RefusalRule(403, NAMED, "account_forbidden", _NO, RetryRule.RESUME),
    RefusalRule(404, NAMED, "not_found", _NO, RetryRule.NEVER),
    RefusalRule(413, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(422, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(429, None, "rate_limited", _NO, RetryRule.AFTER),
    # OpenRouter's own 502, "failed or aborted", is documented as not billed; a gateway's page says nothing of the kind.
    RefusalRule(502, NAMED, "provider_unavailable", _NO, RetryRule.AFTER),
    # Nor do the others say whether a model ran.
    *(
        RefusalRule(status, None, "provider_error", Outcome.UNKNOWN, RetryRule.AFTER)
        for status in (408, 500, 502, 503, 504, 524, 529)
    ),
)
_IMAGES: Final = "data.[].b64_json"
_MODELS: Final = "/images/models"
_COST: Final = "usage.cost"
_OWN_KEY: Final = "usage.is_byok"
_UPSTREAM_COST: Final = "usage.cost_details.upstream_inference_cost"
_USAGE: Final = (_COST, _OWN_KEY, _UPSTREAM_COST)
_ID_CHARS: Final = 200


class OpenRouter:
    """One OpenRouter key."""

    poll_page: ClassVar[int] = 0
    submit_parcel: ClassVar[int] = 2
    find_by: ClassVar[FindBy] = "usage"
    inline: ClassVar[bool] = True

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /images into the call's sink; what was bought is then read from there: see `receipt.kept`."""
        if call.sink is None:
            note = "a defect of ours: no place to keep the images of the answer"
            return Refused(Outcome.NOT_SENT, RetryRule.NEVER, "provider_rejected", note)
        url = f"{self._settings.base_url}/images"
        result = await self._settings.post.send(
            url, headers=self._headers, json=call.body, send_before=call.send_before, sink=call.sink
        )
        if isinstance(result, NotSent) or result.status is None:
            return without_answer(result)
        name = _generation_id(result.headers, self._settings.api_key)
        if not is_success(result.status):
            if not self._has_images(result.body):
                return self._refusal(result)
            call.sink.write(result.body)  # images are bought, whatever the status says
        elif isinstance(result, Lost):
            return noted(without_answer(result), *([f"generation {name}"] if name else []))
        return Accepted(result.status, (), upstream_id=name, whole=isinstance(result, PaidReply))

    async def poll(self, upstream_ids: Sequence[str]) -> Refused:
        """Refuse: the images were in the answer, and nowhere else."""
        message = f"OpenRouter cannot be asked about {len(upstream_ids)} image(s) again"
        return Refused(Outcome.REJECTED, RetryRule.NEVER, "result_expired", message)

    async def used(self) -> Used | Refused:
        """GET /key: the key's usage in USD, and what its calls cost under the owner's own keys at model providers.

        Both are read: a lost call that was made with the owner's key moves the second figure alone.
        """
        reply = await ask(self._settings, "/key", _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            return _used(member(read_proof(reply.body), "data"))
        except UnreadableError as error:
            return unreadable(reply, error)

    async def offers(self) -> Offered | Refused:
        """GET /images/models, then each model's endpoints with their prices; in no order, as some may not be read."""
        reply = await ask(self._settings, _MODELS, _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            listed = list_of(member(read_json(reply.body), "data"))
        except UnreadableError as error:
            return unreadable(reply, error)
        items = {name_of(item, "id"): item for item in readable(listed[:MOST_MODELS], _model)}
        found: dict[str, Offer] = {}
        for model in sample(list(items), len(items)):
            with suppress(UnreadableError):
                found[model] = await self._offer(model, items[model].get("supported_parameters"))
        unread = tuple(model for model in items if model not in found)
        whole = bool(items) and len(items) == len(listed)
        return Offered(tuple(found.values()), unread, whole=whole, source=_MODELS)

    async def _offer(self, model: str, listed: Any) -> Offer:
        path = f"{_MODELS}/{quote(model, safe='/:')}/endpoints"
        reply = await ask(self._settings, path, _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            raise UnreadableError(reply.message)
        return openrouter_offer(model, listed, read_json(reply.body))

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
        images, usage, whole = 0, dict[str, Any](), True
        for path, value in values(file, _IMAGES, beside="usage"):
            if path == _IMAGES and isinstance(value, str):
                images += 1
            elif path in _USAGE:
                usage[path] = _larger(usage.get(path), value)
            elif path == END:
                whole = value
        if not images:
            raise UnreadableError("no whole image in the answer")
        settled, elsewhere = _cost(usage)
        ready = (UpstreamImage(ImageState.READY),) * images
        return Accepted(200, ready, settled=settled, elsewhere=elsewhere, cut=not whole)

    def _refusal(self, result: PaidReply | Lost) -> Refused:
        key = self._settings.api_key
        told = without_answer(result) if isinstance(result, Lost) else refused(result, _ERRORS, key=key)
        named = says_where(result) or names_picture(result.status, result.body)
        return weighed(told, result.body, named=named)

    def _has_images(self, body: bytes) -> bool:
        with suppress(UnreadableError):
            return bool(self.read_reply(BytesIO(body)).images)
        return False

    def read_error(self, status: int, body: bytes) -> Refused | None:
        """Read OpenRouter's envelope, which may come with a 200."""
        return inside(status, body, {}, _ERRORS, key=self._settings.api_key)

    def extract(self, file: BinaryIO, index: int, sink: Sink) -> None:
        """Decode the image at `index`, counted as `read_reply` does, into `sink`."""
        extract(file, _IMAGES, index, sink)


def _model(item: Any) -> Any:
    """Return an item whose id is an author and a slug, and leads nowhere else as a path."""
    author, _, slug = name_of(item, "id").partition("/")
    if not slug or {author, *slug.split("/")} & {"", ".", ".."}:
        raise UnreadableError("a model without author and slug")
    return item


def _used(key: Any) -> Used:
    usage, elsewhere = cost_of(member(key, "usage")), cost_of(key.get("byok_usage"))
    if usage is None or (elsewhere is None and "byok_usage" in key):
        raise UnreadableError("a usage that is no amount")
    return Used(usage, elsewhere)


def _larger(before: Any, now: Any) -> Any:
    """Return the larger of two figures of one answer: the bill must cover it. Of others, the later one."""
    first, second = cost_of(before), cost_of(now)
    if first is None or second is None:
        return now if first is None else before
    return max(first, second)


def _cost(usage: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Return what a call cost here and elsewhere: the owner's own key at a model provider pays that provider's price.

    `usage.cost` is then OpenRouter's own fee, which is 0 for most.
    """
    cost, upstream = cost_of(usage.get(_COST)), cost_of(usage.get(_UPSTREAM_COST))
    if usage.get(_OWN_KEY) is True or (cost == 0 and upstream):
        return cost or Decimal(0), upstream
    return cost, Decimal(0)


def _generation_id(headers: Mapping[str, str], key: SecretStr) -> str | None:
    """Return the header that other endpoints document, for look-ups by a person; no more of it than is an id.

    One that quotes our key is none: it would be shown and logged.
    """
    given = headers.get("x-generation-id", "").strip()
    return given if 0 < len(given) <= _ID_CHARS and given.isprintable() and redacted(given, key) == given else None


WIRE: Final = OpenRouter
