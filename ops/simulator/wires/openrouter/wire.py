"""OpenRouter's image operations as its guide, its OpenAPI document and its Python SDK describe them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from starlette.datastructures import Headers

from ops.simulator.accounts import Account
from ops.simulator.draws import between, digest
from ops.simulator.exchange import Exchange, Operation
from ops.simulator.gallery import Picture
from ops.simulator.marks import defect_in
from ops.simulator.pictures import Sketch, size_for
from ops.simulator.replies import RefusalError, Reply
from ops.simulator.sale import Charge, Sale
from ops.simulator.windows import rate_headers, retry_after
from ops.simulator.wires.openrouter.errors import OpenRouterErrors
from ops.simulator.wires.openrouter.generation import Generation, buffered, image_item, streamed
from ops.simulator.wires.openrouter.models import MODELS
from ops.simulator.wires.openrouter.submission import OpenRouterSubmission, parse_submission
from ops.simulator.world import World

_API = "/openrouter/api/v1"


class OpenRouterWire:
    """The images of OpenRouter under ``{url}/openrouter/api/v1``."""

    name = "openrouter"

    def __init__(self, world: World) -> None:
        self._world = world
        self._settings = world.config.openrouter
        self._errors = OpenRouterErrors(self._settings.error_shape, availability=self._settings.availability)
        self._generations: dict[str, Generation] = {}

    def operations(self) -> Sequence[Operation]:
        """Return everything that this wire answers."""
        return (
            Operation("POST", f"{_API}/images", "submit", self._submit, pays=True),
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

    def picture_of(self, exchange: Exchange) -> str | None:  # noqa: ARG002 - the protocol's question
        """Return nothing: no operation delivers files."""
        return None

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
            reply.headers.update(rate_headers(full, clock.now(), self._settings.rate_reset))
            if self._settings.retry_after:
                reply.headers["retry-after"] = retry_after(full, clock.now())
            raise RefusalError(reply)

    def refusal(self, status: int, exchange: Exchange, code: str | None = None) -> Reply:
        """Return OpenRouter's error of that status; ``code`` is its ``error_type``."""
        seconds = exchange.fault.retry_after if exchange.fault else None
        return self._errors.reply(status, code, retry_seconds=seconds if isinstance(seconds, int | float) else None)

    def decorate(self, exchange: Exchange, reply: Reply) -> None:
        """Add nothing: successful replies have no rate headers."""

    def dump(self) -> dict[str, Any]:
        """Return all generations."""
        return {"generations": [item.as_row() for item in self._generations.values()]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over all generations."""
        self._generations = {row["id"]: Generation(**row) for row in state["generations"]}

    def reset(self) -> None:
        """Forget all generations."""
        self._generations.clear()

    async def _submit(self, exchange: Exchange) -> Reply:
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
        charge = Charge(generation.id, tuple(item.id for item in pictures), cost, "USD")
        self._buy(exchange, account, Sale(charge, pictures))
        await world.clock.sleep(generation.seconds)
        generation.sale = exchange.sale
        if self._settings.billing == "completed":
            world.settle(exchange)
            exchange.sale = None
        self._generations[generation.id] = generation
        return await self._reply(generation, pictures, cost)

    def _begin(self, exchange: Exchange, wanted: OpenRouterSubmission) -> Generation:
        world, key = self._world, exchange.require_account().key
        repetition = world.occurrence(self.name, key, exchange.body_sha256)
        root = (world.config.seed, self.name, key, exchange.body_sha256, repetition)
        return Generation(
            id=f"gen-{digest(*root).hex()[:24]}",
            key=key,
            model=wanted.model.id,
            created=exchange.time,
            seconds=between(*self._settings.latency, *root, "latency"),
            images=max(1, wanted.count - self._settings.returns_fewer),
            prompt_tokens=wanted.prompt_tokens,
            streamed=wanted.stream,
        )

    def _buy(self, exchange: Exchange, account: Account, sale: Sale) -> None:
        world, limit = self._world, account.terms.spending_limit
        spent = world.bill.spent(self.name, account.key) + account.held
        if account.terms.payment_required or (limit is not None and spent + sale.charge.amount > limit):
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
        self, exchange: Exchange, wanted: OpenRouterSubmission, generation: Generation
    ) -> tuple[Picture, ...]:
        world, form = self._world, wanted.output_format
        seed = world.config.seed if wanted.seed is None else wanted.seed
        size = size_for(wanted.ratio, world.config.pixels)
        words = (wanted.prompt, wanted.model.id, wanted.ratio)
        found = []
        for index in range(generation.images):
            sketch = Sketch(seed, *words, index, *size, form, transparent=wanted.transparent)
            picture = Picture(
                f"{generation.id}/{index}", self.name, generation.key, generation.id, sketch, exchange.time
            )
            picture.defect = defect_in(exchange.marks)
            found.append(picture)
        return tuple(found)

    async def _reply(self, generation: Generation, pictures: tuple[Picture, ...], cost: Decimal) -> Reply:
        settings = self._settings
        files = [await self._world.gallery.file(picture) for picture in pictures]
        items = [
            image_item(content, picture.content_type if settings.media_type else None)
            for content, picture in zip(files, pictures, strict=True)
        ]
        usage = {
            "cost": generation.usage(cost),
            "without_cost": generation.usage(None),
            "absent": None,
        }[settings.usage]
        worded = streamed if generation.streamed else buffered
        reply = worded(int(self._world.clock.now()), items, usage)
        if settings.generation_id:
            reply.headers["x-generation-id"] = generation.id
        return reply

    async def _generation(self, exchange: Exchange) -> Reply:
        generation = self._generations.get(exchange.query.get("id", ""))
        if generation is None or generation.is_open or generation.key != exchange.require_account().key:
            return self._errors.reply(404, message="Generation not found")
        return Reply.json(200, {"data": generation.as_json(self._world.bill.find(generation.id))})

    async def _credits(self, exchange: Exchange) -> Reply:
        account = exchange.require_account()
        spent = self._world.bill.spent(self.name, account.key)
        return Reply.json(200, {"data": {"total_credits": account.balance + spent, "total_usage": spent}})

    async def _key(self, exchange: Exchange) -> Reply:
        account = exchange.require_account()
        spent, limit = self._world.bill.spent(self.name, account.key), account.terms.spending_limit
        document = {
            "label": f"{account.key[:6]}...",
            "limit": limit,
            "limit_remaining": None if limit is None else max(Decimal(0), limit - spent),
            "limit_reset": None,
            **dict.fromkeys(("usage", "usage_daily", "usage_weekly", "usage_monthly"), spent),
            **dict.fromkeys(("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"), 0),
            **dict.fromkeys(("creator_user_id", "effective_budget", "organization_id", "workspace_id", "expires_at")),
            **dict.fromkeys(
                ("is_free_tier", "is_management_key", "is_provisioning_key", "include_byok_in_limit"), False
            ),
            "allowed_data_regions": ["global"],
            "budgets": [],
            "free_model_daily_requests": {"limit": 50, "remaining": 50, "used": 0},
            "rate_limit": {"requests": -1, "interval": "10s", "note": "Deprecated"},
        }
        return Reply.json(200, {"data": document})

    async def _models(self, _exchange: Exchange) -> Reply:
        return Reply.json(200, {"data": [model.listed() for model in MODELS.values()]})

    async def _endpoints(self, exchange: Exchange) -> Reply:
        model = MODELS.get("{author}/{slug}".format_map(exchange.path_params))
        if model is None:
            return self._errors.reply(404, message="No endpoints found for this model")
        return Reply.json(200, {"id": model.id, "endpoints": [model.endpoint()]})
