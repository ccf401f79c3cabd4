"""getimg's operations as its guide and its SDK describe them, and the downloads behind its signed links."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from starlette.datastructures import Headers

from ops.simulator.bill import BillLine
from ops.simulator.clock import iso
from ops.simulator.config import GetimgSettings
from ops.simulator.draws import between, uuid4_like
from ops.simulator.exchange import Exchange, Operation, Success
from ops.simulator.files import download
from ops.simulator.gallery import DrawnPicture
from ops.simulator.links import LinkState
from ops.simulator.marks import defect_in
from ops.simulator.pictures import Sketch, size_for
from ops.simulator.replies import RefusalError, SimulatedReply
from ops.simulator.sale import Charge
from ops.simulator.windows import rate_headers, retry_after
from ops.simulator.wires.getimg.errors import error_reply
from ops.simulator.wires.getimg.models import MODELS
from ops.simulator.wires.getimg.submission import GetimgSubmission, parse_submission
from ops.simulator.world import World

_SUCCESS = Success(ids=(("id",),))
_LONGEST_COSTS = timedelta(days=180)


class GetimgWire:
    """The whole of getimg under ``{url}/getimg``."""

    name = "getimg"

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def _settings(self) -> GetimgSettings:
        return self._world.config.getimg

    def operations(self) -> Sequence[Operation]:
        """Return everything that this wire answers."""
        return (
            Operation("POST", "/getimg/v2/images/generations", "submit", self._submit, pays=True, success=_SUCCESS),
            Operation("GET", "/getimg/v2/billing/balance", "balance", self._balance),
            Operation("GET", "/getimg/v2/billing/costs", "costs", self._costs),
            Operation("GET", "/getimg/v2/models/{id}", "models", self._model),
            Operation("GET", "/getimg/v2/models", "models", self._models),
            Operation("GET", "/getimg/v2/downloads/{request}/{index}", "download", self._download, public=True),
        )

    def credential(self, headers: Headers) -> str | None:
        """Return the bearer token."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def route_of(self, operation: Operation, exchange: Exchange) -> str:  # noqa: ARG002 - one path, one route here
        """Return the operation's route."""
        return operation.route

    def picture_of(self, exchange: Exchange) -> str | None:
        """Return the picture's id, ``<request>/<index>``."""
        params = exchange.path_params
        return f"{params['request']}/{params['index']}" if "index" in params else None

    def admit(self, exchange: Exchange) -> None:
        """Raise getimg's 401, 403 or 429."""
        accounts = self._world.accounts
        account = accounts.find(self.name, self.credential(exchange.headers))
        if account is None:
            raise RefusalError(error_reply(401))
        exchange.account = account
        if account.terms.banned or account.terms.forbidden:
            raise RefusalError(error_reply(403))
        full = accounts.take_turn(account)
        if full is not None:
            reply = error_reply(429)
            if self._settings.retry_after:
                reply.headers["retry-after"] = retry_after(full, self._world.clock.now())
            raise RefusalError(reply)

    def refusal(self, status: int, exchange: Exchange, code: str | None = None) -> SimulatedReply:  # noqa: ARG002 - no links here
        """Return getimg's error of that status."""
        return error_reply(status, code)

    def id_of(self, line: BillLine) -> str:
        """Return the request's id."""
        return line.submission_id

    def decorate(self, exchange: Exchange, reply: SimulatedReply) -> None:
        """Add the ``X-RateLimit-*`` headers."""
        window = self._world.accounts.tightest(exchange.require_account())
        if window is not None:
            unit, skew = self._settings.rate_reset, self._world.skew(self.name)
            reply.headers.update(rate_headers(window, self._world.clock.now(), unit, skew))

    def dump(self) -> dict[str, Any]:
        """Return nothing: bill and pictures are all there is."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take over nothing."""

    def reset(self) -> None:
        """Forget nothing."""

    async def _submit(self, exchange: Exchange) -> SimulatedReply:
        account = exchange.require_account()
        wanted = parse_submission(exchange.body)
        if "moderated" in exchange.marks:
            raise RefusalError(error_reply(422))
        if "failed" in exchange.marks:
            raise RefusalError(error_reply(500))
        if account.concurrency is not None and account.in_flight >= account.concurrency:
            raise RefusalError(error_reply(429, "concurrency_limit_exceeded", "Too many requests at once"))
        repetition = self._world.occurrence(self.name, account.key, exchange.body_sha256)
        root = (self._world.config.seed, self.name, account.key, exchange.body_sha256, repetition)
        request_id = f"req-{uuid4_like(*root)}"
        charge = Charge(request_id, (f"{request_id}/0",), wanted.price, "USD")
        if not self._world.charge(exchange, account, charge):
            raise RefusalError(error_reply(402))
        account.in_flight += 1
        account.highest_in_flight = max(account.highest_in_flight, account.in_flight)
        try:
            await self._world.clock.sleep(between(*self._settings.latency, *root, "latency"))
        finally:
            account.in_flight -= 1
        return self._completed(exchange, wanted, request_id)

    def _completed(self, exchange: Exchange, wanted: GetimgSubmission, request_id: str) -> SimulatedReply:
        pictures = [self._keep(exchange, wanted, request_id, index) for index in range(exchange.links(1))]
        price = float(wanted.price)
        stated = float(wanted.price * self._settings.cost_factor)
        usage = {"billable_unit": "image", "quantity": 1, "unit_price": price, "total_cost": stated}
        document = {
            "id": request_id,
            "status": "completed",
            "model": wanted.model.id,
            "data": [self._item(exchange, picture) for picture in pictures],
            "usage": usage,
        }
        return SimulatedReply.json(200, document)

    def _item(self, exchange: Exchange, picture: DrawnPicture) -> dict[str, Any]:
        links, skew = self._world.links, self._world.skew(self.name)
        expires = links.at_once(skew) if picture.expires_at_once else links.expiry(self._settings.link_seconds, skew)
        return {
            "url": exchange.base_url + links.sign(f"/getimg/v2/downloads/{picture.id}", expires),
            "mime_type": picture.content_type,
            "deletes_at": iso(expires),
            "width": picture.sketch.width,
            "height": picture.sketch.height,
        }

    def _keep(self, exchange: Exchange, wanted: GetimgSubmission, request_id: str, index: int) -> DrawnPicture:
        world, marks = self._world, exchange.marks
        size = size_for(wanted.ratio, world.config.pixels)
        words = (wanted.prompt, wanted.model.id, wanted.ratio)
        sketch = Sketch(world.config.seed, *words, index, *size, wanted.output_format)
        key = exchange.require_account().key
        picture = DrawnPicture(f"{request_id}/{index}", self.name, key, request_id, sketch, world.clock.now())
        picture.defect = defect_in(marks)
        picture.expires_at_once = "expired" in marks
        world.gallery.add(picture)
        return picture

    async def _balance(self, exchange: Exchange) -> SimulatedReply:
        balance = exchange.require_account().balance
        return SimulatedReply.json(200, {"balance": str(balance), "currency": "USD"})

    async def _costs(self, exchange: Exchange) -> SimulatedReply:
        start, end = _moment(exchange, "start"), _moment(exchange, "end")
        if not start < end <= start + _LONGEST_COSTS:
            raise RefusalError(error_reply(400, message="end must be after start, and within 180 days of it"))
        spent: defaultdict[date, Decimal] = defaultdict(Decimal)
        for line in self._world.bill.lines:
            when = datetime.fromtimestamp(line.time + self._world.skew(self.name), UTC)
            if line.provider == self.name and line.key == exchange.require_account().key and start <= when <= end:
                spent[when.date()] += line.amount
        first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        buckets = [{"date": day.isoformat(), "cost": float(spent[day])} for day in days]
        document = {"currency": "USD", "start": exchange.query["start"], "end": exchange.query["end"]}
        return SimulatedReply.json(200, {**document, "total_cost": float(sum(spent.values())), "data": buckets})

    async def _models(self, exchange: Exchange) -> SimulatedReply:
        kind = exchange.query.get("type", "image")
        if kind not in {"image", "video"}:
            raise RefusalError(error_reply(400, message="type must be image or video"))
        return SimulatedReply.json(200, [model.as_json() for model in MODELS.values()] if kind == "image" else [])

    async def _model(self, exchange: Exchange) -> SimulatedReply:
        model = MODELS.get(exchange.path_params["id"])
        return SimulatedReply.json(200, model.as_json()) if model else error_reply(404)

    async def _download(self, exchange: Exchange) -> SimulatedReply:
        state = self._world.links.check(exchange.path, exchange.query, self._world.skew(self.name))
        if state is LinkState.forged:
            return error_reply(403, "invalid_signature", "The signature does not match")
        if state is LinkState.expired or "expired" in exchange.marks:
            return error_reply(self._settings.expired_status, "expired", "The file has been deleted")
        picture = self._world.gallery.get(self.picture_of(exchange) or "")
        if picture is None or exchange.hides():
            return error_reply(404)
        return await download(self._world, exchange, picture)


def _moment(exchange: Exchange, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(exchange.query.get(name, ""))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RefusalError(error_reply(400, message=f"{name} must be ISO 8601 with a time zone"))
    return moment
