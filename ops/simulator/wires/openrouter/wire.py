"""OpenRouter's image operations as its guide, its OpenAPI document and its Python SDK describe them."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from starlette.datastructures import Headers

from ops.simulator.accounts import SimulatedAccount
from ops.simulator.bill import BillLine
from ops.simulator.config import OpenRouterSettings
from ops.simulator.draws import between, digest
from ops.simulator.exchange import Exchange, Operation, Success
from ops.simulator.files import file_of
from ops.simulator.gallery import DrawnPicture
from ops.simulator.marks import defect_in
from ops.simulator.pictures import Sketch, size_for
from ops.simulator.replies import RefusalError, SimulatedReply
from ops.simulator.sale import Charge, Sale
from ops.simulator.windows import rate_headers, retry_after
from ops.simulator.wires.openrouter.errors import OpenRouterErrors
from ops.simulator.wires.openrouter.generation import OpenRouterGeneration, buffered, image_item, streamed
from ops.simulator.wires.openrouter.models import MODELS
from ops.simulator.wires.openrouter.submission import OpenRouterSubmission, parse_submission
from ops.simulator.world import World

_SUCCESS = Success(header="x-generation-id")
_API = "/openrouter/api/v1"


class OpenRouterWire:
    """The images of OpenRouter under ``{url}/openrouter/api/v1``."""

    name = "openrouter"

    def __init__(self, world: World) -> None:
        self._world = world
        self._generations: dict[str, OpenRouterGeneration] = {}

    @property
    def _settings(self) -> OpenRouterSettings:
        return self._world.config.openrouter

    @property
    def _errors(self) -> OpenRouterErrors:
        return OpenRouterErrors(self._settings.error_shape, availability=self._settings.availability)

    def operations(self) -> Sequence[Operation]:
        """Return everything that this wire answers."""
        return (
            Operation("POST", f"{_API}/images", "submit", self._submit, pays=True, success=_SUCCESS),
            Operation("GET", f"{_API}/images/models/{{author}}/{{slug}}/endpoints", "endpoints", self._endpoints),
            Operation("GET", f"{_API}/images/models", "models", self._models),
            Operation("GET", f"{_API}/generation", "generation", self._generation),
            Operation("GET", f"{_API}/credits", "credits", self._credits),
            Operation("GET", f"{_API}/key", "key", self._key),
        )

    def credential(self, headers: Headers) -> str | None:
        """Return the bearer token."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def route_of(self, operation: Operation, exchange: Exchange) -> str:  # noqa: ARG002 - one path, one route here
        """Return the operation's route."""
        return operation.route

    def picture_of(self, exchange: Exchange) -> str | None:
        """Return the id of the first picture of the generation that is asked for: no operation delivers files."""
        return f"{exchange.query['id']}/0" if "id" in exchange.query else None

    def admit(self, exchange: Exchange) -> None:
        """Raise OpenRouter's 401, 403, 402 or own 429; only that 429 has rate headers."""
        accounts, clock = self._world.accounts, self._world.clock
        account = accounts.find(self.name, self.credential(exchange.headers))
        if account is None:
            raise self._errors.refuse(401)
        exchange.account = account
        if account.terms.banned:
            raise self._errors.refuse(401, message="This API key is disabled")
        if account.terms.forbidden:
            raise self._errors.refuse(403)
        full = accounts.take_turn(account)
        if full is not None:
            reply = self._errors.reply(429)
            reply.headers.update(
                rate_headers(full, clock.now(), self._settings.rate_reset, self._settings.clock_seconds)
            )
            if self._settings.retry_after:
                reply.headers["retry-after"] = retry_after(full, clock.now())
            raise RefusalError(reply)

    def refusal(self, status: int, exchange: Exchange, code: str | None = None) -> SimulatedReply:
        """Return OpenRouter's error of that status; ``code`` is its ``error_type``."""
        seconds = exchange.fault.retry_after if exchange.fault else None
        return self._errors.reply(status, code, retry_seconds=seconds if isinstance(seconds, int | float) else None)

    def id_of(self, line: BillLine) -> str:
        """Return the generation's id."""
        return line.submission_id

    def decorate(self, exchange: Exchange, reply: SimulatedReply) -> None:
        """Add nothing: successful replies have no rate headers."""

    def dump(self) -> dict[str, Any]:
        """Return all generations."""
        return {"generations": [item.as_row() for item in self._generations.values()]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over all generations."""
        self._generations = {row["id"]: OpenRouterGeneration(**row) for row in state["generations"]}

    def reset(self) -> None:
        """Forget all generations."""
        self._generations.clear()

    async def _submit(self, exchange: Exchange) -> SimulatedReply:
        account, world = exchange.require_account(), self._world
        if len(exchange.body) > self._settings.most_body_bytes:
            raise self._errors.refuse(413)
        wanted = parse_submission(exchange.body, self._errors)
        if "moderated" in exchange.marks:
            raise self._errors.moderated(wanted.prompt, wanted.model.provider_name, wanted.model.id)
        if "failed" in exchange.marks:
            raise self._errors.refuse(502)
        generation = self._begin(exchange, wanted)
        pictures, cost = self._pictures(exchange, wanted, generation), wanted.cost(generation.images)
        charge = Charge(generation.id, tuple(item.id for item in pictures), cost, "USD", self._settings.byok)
        self._buy(exchange, account, Sale(charge, pictures))
        await world.clock.sleep(generation.seconds)
        generation.sale = exchange.sale
        if self._settings.billing == "completed":
            world.settle(exchange)
            exchange.sale = None
        self._generations[generation.id] = generation
        return await self._reply(exchange, generation, pictures, charge)

    def _begin(self, exchange: Exchange, wanted: OpenRouterSubmission) -> OpenRouterGeneration:
        world, key = self._world, exchange.require_account().key
        repetition = world.occurrence(self.name, key, exchange.body_sha256)
        root = (world.config.seed, self.name, key, exchange.body_sha256, repetition)
        return OpenRouterGeneration(
            id=f"gen-{digest(*root).hex()[:24]}",
            key=key,
            model=wanted.model.id,
            created=exchange.time,
            seconds=between(*self._settings.latency, *root, "latency"),
            images=max(1, wanted.count - self._settings.returns_fewer),
            prompt_tokens=wanted.prompt_tokens,
            streamed=wanted.stream,
            skew=self._settings.clock_seconds,
        )

    def _buy(self, exchange: Exchange, account: SimulatedAccount, sale: Sale) -> None:
        world, limit = self._world, account.terms.spending_limit
        spent = world.bill.spent(self.name, account.key) + account.held
        if account.terms.payment_required or (limit is not None and spent + sale.charge.drawn > limit):
            raise self._errors.refuse(402, message="This request exceeds the spending limit of the API key")
        if self._settings.billing != "accepted":
            bought = world.hold(exchange, account, sale)
        else:
            bought = world.charge(exchange, account, sale.charge)
            for picture in sale.pictures if bought else ():
                world.gallery.add(picture)
        if not bought:
            raise self._errors.refuse(402)

    def _pictures(
        self, exchange: Exchange, wanted: OpenRouterSubmission, generation: OpenRouterGeneration
    ) -> tuple[DrawnPicture, ...]:
        world, form = self._world, wanted.output_format
        seed = world.config.seed if wanted.seed is None else wanted.seed
        size = size_for(wanted.ratio, world.config.pixels)
        words = (wanted.prompt, wanted.model.id, wanted.ratio)
        found = []
        for index in range(generation.images):
            sketch = Sketch(seed, *words, index, *size, form, transparent=wanted.transparent)
            picture = DrawnPicture(
                f"{generation.id}/{index}", self.name, generation.key, generation.id, sketch, exchange.time
            )
            picture.defect = defect_in(exchange.marks)
            found.append(picture)
        return tuple(found)

    async def _reply(
        self, exchange: Exchange, generation: OpenRouterGeneration, pictures: tuple[DrawnPicture, ...], charge: Charge
    ) -> SimulatedReply:
        settings = self._settings
        files = [await file_of(self._world.gallery, exchange.fault, picture) for picture in pictures]
        items = [image_item(content, form if settings.media_type else None) for content, form in files]
        items += items[:1] * (exchange.links(len(items)) - len(items))
        stated = replace(charge, amount=charge.amount * settings.cost_factor)
        usage = {
            "cost": generation.usage(stated),
            "without_cost": generation.usage(None),
            "absent": None,
        }[settings.usage]
        worded = streamed if generation.streamed else buffered
        reply = worded(int(self._world.clock.now() + settings.clock_seconds), items, usage)
        if settings.generation_id:
            reply.headers["x-generation-id"] = generation.id
        return reply

    async def _generation(self, exchange: Exchange) -> SimulatedReply:
        generation = self._generations.get(exchange.query.get("id", ""))
        denied = exchange.hides() or generation is None or generation.key != exchange.require_account().key
        if denied or generation is None or not self._is_known(generation):
            return self._errors.reply(404, message="Generation not found")
        return SimulatedReply.json(200, {"data": generation.as_json(self._world.bill.find(generation.id))})

    def _is_known(self, generation: OpenRouterGeneration) -> bool:
        clock = self._world.clock
        known_at = generation.created + clock.real(generation.seconds) + self._settings.get_lag_seconds
        return not generation.is_open and clock.now() >= known_at

    async def _credits(self, exchange: Exchange) -> SimulatedReply:
        account = exchange.require_account()
        credit = account.balance + self._world.bill.spent(self.name, account.key)
        return SimulatedReply.json(200, {"data": {"total_credits": credit, "total_usage": self._usage(account)}})

    def _usage(self, account: SimulatedAccount, *, byok: bool = False) -> Decimal:
        """Return what the account is told to have spent in USD, here or with its own keys elsewhere."""
        bill, world = self._world.bill, self._world
        if not self._settings.usage_frozen:
            return bill.spent(self.name, account.key, byok=byok)
        return bill.spent_until(self.name, account.key, world.since(self.name, "usage_frozen"), byok=byok)

    async def _key(self, exchange: Exchange) -> SimulatedReply:
        account = exchange.require_account()
        spent, elsewhere = self._usage(account), self._usage(account, byok=True)
        limit = account.terms.spending_limit
        document = {
            "label": f"{account.key[:6]}...",
            "limit": limit,
            "limit_remaining": None if limit is None else max(Decimal(0), limit - spent),
            "limit_reset": None,
            **dict.fromkeys(("usage", "usage_daily", "usage_weekly", "usage_monthly"), spent),
            **dict.fromkeys(("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"), elsewhere),
            **dict.fromkeys(("creator_user_id", "effective_budget", "organization_id", "workspace_id", "expires_at")),
            **dict.fromkeys(
                ("is_free_tier", "is_management_key", "is_provisioning_key", "include_byok_in_limit"), False
            ),
            "allowed_data_regions": ["global"],
            "budgets": [],
            "free_model_daily_requests": {"limit": 50, "remaining": 50, "used": 0},
            "rate_limit": {"requests": -1, "interval": "10s", "note": "Deprecated"},
        }
        return SimulatedReply.json(200, {"data": document})

    async def _models(self, _exchange: Exchange) -> SimulatedReply:
        return SimulatedReply.json(200, {"data": [model.listed() for model in MODELS.values()]})

    async def _endpoints(self, exchange: Exchange) -> SimulatedReply:
        model = MODELS.get("{author}/{slug}".format_map(exchange.path_params))
        if model is None:
            return self._errors.reply(404, message="No endpoints found for this model")
        return SimulatedReply.json(200, {"id": model.id, "endpoints": [model.endpoint()]})
