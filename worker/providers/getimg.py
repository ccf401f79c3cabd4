"""getimg.ai's wire (v2): the answer to the POST is the result, with signed links that say when they die."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from shared.lifecycle import ImageState, Outcome
from worker.providers.amount import amount_of, cost_of
from worker.providers.asking import ask
from worker.providers.contract import (
    MOST_READ,
    UNSURE_LINK,
    Accepted,
    AccountFacts,
    FindBy,
    PaidCall,
    Refused,
    RetryRule,
    UpstreamImage,
    WireSettings,
)
from worker.providers.offering import MOST_MODELS, Offered, getimg_offer
from worker.providers.reading import (
    UnreadableError,
    link_of,
    list_of,
    member,
    read_json,
    readable,
    size_of,
    text_of,
)
from worker.providers.receipt import receipt
from worker.providers.refusals import NO_PAGE, RefusalRule, unreadable
from worker.providers.salvage import closed, links_in
from worker.providers.times import moment

_MODELS: Final = "/v2/models"
_NO = Outcome.REJECTED
_ERRORS: Final = (
    RefusalRule(400, NO_PAGE, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(401, None, "account_unauthorized", _NO, RetryRule.RESUME),
    RefusalRule(402, None, "account_out_of_credit", _NO, RetryRule.RESUME),
    RefusalRule(403, NO_PAGE, "account_forbidden", _NO, RetryRule.RESUME),
    RefusalRule(404, NO_PAGE, "not_found", _NO, RetryRule.NEVER),
    RefusalRule(422, NO_PAGE, "content_refused", _NO, RetryRule.NEVER),
    RefusalRule(429, None, "rate_limited", _NO, RetryRule.AFTER),
)


class Getimg:
    """One getimg.ai account."""

    poll_page: ClassVar[int] = 0
    submit_parcel: ClassVar[int] = 4
    find_by: ClassVar[FindBy] = "nothing"
    inline: ClassVar[bool] = False

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """POST /v2/images/generations: 200 with links; there is no way to ask again."""
        url = f"{self._settings.base_url}/v2/images/generations"
        result = await self._settings.post.send(
            url, headers=self._headers, json=call.body, send_before=call.send_before, spill=call.sink
        )
        about: dict[str, Any] = {"base_url": self._settings.base_url, "now": datetime.now(UTC)}
        read, seen = partial(_accepted, **about), partial(_salvaged, sent=call.body, **about)
        return receipt(result, read, _ERRORS, key=self._settings.api_key, salvage=seen)

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """Refuse: getimg.ai cannot be asked about an image."""
        message = f"getimg.ai cannot be asked about {len(upstream_ids)} image(s) again"
        return Refused(Outcome.REJECTED, RetryRule.NEVER, "result_expired", message)

    async def account(self) -> AccountFacts | Refused:
        """GET /v2/billing/balance: USD, as text; another currency is not the unit of the ledger."""
        reply = await ask(self._settings, "/v2/billing/balance", _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            answer = read_json(reply.body)
            balance = amount_of(member(answer, "balance"))
            return AccountFacts(balance if answer.get("currency", "USD") == "USD" else None)
        except UnreadableError:
            return AccountFacts(None)

    async def offers(self) -> Offered | Refused:
        """GET /v2/models?type=image: every model with its ratios, resolutions and rates."""
        reply = await ask(self._settings, _MODELS, _ERRORS, headers=self._headers, params={"type": "image"})
        if isinstance(reply, Refused):
            return reply
        try:
            listed = list_of(read_json(reply.body))
        except UnreadableError as error:
            return unreadable(reply, error)
        found = readable(listed[:MOST_MODELS], getimg_offer)
        offers = {offer.model: offer for offer in found if offer is not None}
        whole = bool(offers) and len(found) == len(listed)
        return Offered(tuple(offers.values()), whole=whole, source=_MODELS)

    async def costs(self, first: date, last: datetime) -> Mapping[date, Decimal] | Refused:
        """GET /v2/billing/costs: USD by UTC day; a day that cannot be read is left out."""
        start = datetime.combine(first, time.min, UTC)
        span = {"start": start.isoformat(), "end": last.astimezone(UTC).isoformat()}
        reply = await ask(self._settings, "/v2/billing/costs", _ERRORS, headers=self._headers, params=span)
        if isinstance(reply, Refused):
            return reply
        try:
            days = readable(member(read_json(reply.body), "data"), _day)
        except UnreadableError as error:
            return unreadable(reply, error)
        return {day: cost for day, cost in days if first <= day <= last.astimezone(UTC).date()}


def _day(item: Any) -> tuple[date, Decimal]:
    cost = cost_of(member(item, "cost"))
    try:
        day = date.fromisoformat(str(member(item, "date"))[:10])
    except ValueError:
        raise UnreadableError("a day that is no date") from None
    if cost is None:
        raise UnreadableError("a cost that is no amount")
    return day, cost


def _accepted(status: int, answer: Any, *, base_url: str, now: datetime) -> Accepted:
    """Only a link must be there: nothing else may cost us images that are paid for."""
    data = member(answer, "data")
    given = list_of([data] if isinstance(data, dict) else data)
    images = readable(given, partial(_image, base_url=base_url, now=now), most=MOST_READ)
    if not images:
        raise UnreadableError("no images in the answer")
    upstream_id = None
    with suppress(UnreadableError):
        upstream_id = text_of(answer.get("id"))
    left_out = len(given) - len(images)
    return Accepted(status, images, upstream_id, settled=_cost(answer.get("usage")), left_out=left_out)


def _salvaged(status: int, body: bytes, *, sent: Any, base_url: str, now: datetime) -> Accepted | None:
    """Return what can be seen in a success that cannot be read: its links are over in an hour, and cannot be had again.

    The pictures before the place where it broke off are as good as those of a whole answer. A link that stands
    elsewhere may lead to anything.
    """
    with suppress(UnreadableError):
        return _accepted(status, closed(body), base_url=base_url, now=now)
    links = links_in(body, sent=sent, base_url=base_url)
    seen = readable(list(links), partial(_unsure, base_url=base_url, now=now))
    return Accepted(status, seen) if seen else None


def _unsure(link: str, *, base_url: str, now: datetime) -> UpstreamImage:
    image = _image({"url": link}, base_url=base_url, now=now)
    return replace(image, error_code=UNSURE_LINK, error="its link stands in an answer that could not be read")


def _image(item: Any, *, base_url: str, now: datetime) -> UpstreamImage:
    """Read one picture, whose link dies at `deletes_at` or at its own `exp`, whichever comes first.

    An end that is past already is not believed: a wrong clock or zone must not keep a paid image from being fetched.
    """
    if isinstance(item, str) and item.lstrip().lower().startswith(("https:", "http:")):
        item = {"url": item}
    link = link_of(member(item, "url"), base_url)
    ends = []
    with suppress(UnreadableError):
        ends.append(moment(item.get("deletes_at")))
    with suppress(ValueError, OverflowError, OSError):
        ends.append(datetime.fromtimestamp(int(dict(parse_qsl(urlsplit(link).query)).get("exp", "")), UTC))
    return UpstreamImage(
        ImageState.READY,
        link=link,
        link_expires_at=min((end for end in ends if end > now), default=None),
        stated=size_of(item),
    )


def _cost(usage: Any) -> Decimal | None:
    """Return the cost in USD, exactly as written; None where there is no credible figure."""
    return cost_of(usage.get("total_cost")) if isinstance(usage, dict) else None


WIRE: Final = Getimg
