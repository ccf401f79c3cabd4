"""Bloom's operations after its OpenAPI document, and the redirect and storage behind its image links."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from starlette.datastructures import Headers

from ops.simulator.bill import BillLine
from ops.simulator.config import BloomSettings
from ops.simulator.draws import between, uuid4_like
from ops.simulator.exchange import Exchange, Operation, Success
from ops.simulator.gallery import DrawnPicture
from ops.simulator.lists import Lists
from ops.simulator.marks import defect_in
from ops.simulator.pictures import Sketch, size_for
from ops.simulator.replies import SimulatedReply
from ops.simulator.sale import Charge
from ops.simulator.wires.bloom.brands import BRANDS, REFUSALS, WORKSPACE_NAME, brand_json
from ops.simulator.wires.bloom.delivery import Delivery
from ops.simulator.wires.bloom.errors import BloomErrors
from ops.simulator.wires.bloom.images import BloomImage, Shelf, cut_page, image_json, stranger_json
from ops.simulator.wires.bloom.listing import Patience, cursor_after, parse_ids, parse_listing, parse_patience
from ops.simulator.wires.bloom.submission import BloomSubmission, parse_submission
from ops.simulator.world import World

_API = "/bloom/api/v1"
_QUEUED_SHARE = 0.25  # of the latency: the rest is spent generating
_SUCCESS = Success(202, (("data", "ids", 0),))


class BloomWire:
    """The whole of Bloom under ``{url}/bloom``; the API itself under ``{url}/bloom/api/v1``."""

    name = "bloom"

    def __init__(self, world: World) -> None:
        self._world = world
        self._lists = Lists(world, self.name)
        self._shelf = Shelf()
        self._delivery = Delivery(world, self._shelf)

    @property
    def _settings(self) -> BloomSettings:
        return self._world.config.bloom

    @property
    def _errors(self) -> BloomErrors:
        return BloomErrors(self._settings.envelope)

    def operations(self) -> Sequence[Operation]:
        """Return everything that this wire answers."""
        return (
            Operation("POST", f"{_API}/images/generations", "submit", self._submit, pays=True, success=_SUCCESS),
            Operation("GET", f"{_API}/images/{{id}}", "poll", self._get),
            Operation("DELETE", f"{_API}/images/{{id}}", "delete", self._delete),
            Operation("GET", f"{_API}/images", "list", self._list),
            Operation("DELETE", f"{_API}/images", "delete", self._delete_many),
            Operation("GET", f"{_API}/brands/{{id}}", "brands", self._brand),
            Operation("GET", f"{_API}/brands", "brands", self._brands),
            Operation("GET", f"{_API}/account", "account", self._account),
            Operation("GET", f"{_API}/workspaces", "workspaces", self._workspaces),
            Operation("GET", f"{_API}/credits", "credits", self._credits),
            Operation("GET", "/bloom/img/{id}", "redirect", self._redirect, public=True),
            Operation("GET", "/bloom/storage/{id}", "download", self._delivery.download, public=True),
        )

    def credential(self, headers: Headers) -> str | None:
        """Return the key: ``x-api-key`` wins over ``Authorization: Bearer``."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else None)

    def route_of(self, operation: Operation, exchange: Exchange) -> str:
        """Return the route; asking a list for ids is a poll."""
        return "poll" if operation.route == "list" and exchange.query.get("ids") else operation.route

    def picture_of(self, exchange: Exchange) -> str | None:
        """Return the image id in a result link."""
        return exchange.path_params.get("id")

    def admit(self, exchange: Exchange) -> None:
        """Raise Bloom's 401, 403, 402 or 429."""
        account = self._world.accounts.find(self.name, self.credential(exchange.headers))
        if account is None:
            raise self._errors.refuse("UNAUTHORIZED")
        exchange.account = account
        if account.terms.banned:
            raise self._errors.refuse("ACCOUNT_BANNED")
        if account.terms.forbidden:
            raise self._errors.refuse("FORBIDDEN")
        if self._world.accounts.take_turn(account) is not None:
            raise self._errors.refuse("TOO_MANY_REQUESTS")

    def refusal(self, status: int, exchange: Exchange, code: str | None = None) -> SimulatedReply:
        """Return Bloom's error of that status."""
        return self._errors.usual(status, code, exchange.base_url)

    def id_of(self, line: BillLine) -> str:
        """Return the id of the first image."""
        return line.upstream_ids[0]

    def decorate(self, exchange: Exchange, reply: SimulatedReply) -> None:
        """Add nothing: Bloom documents no headers of its own."""

    def dump(self) -> dict[str, Any]:
        """Return all images."""
        return self._shelf.dump()

    def load(self, state: dict[str, Any]) -> None:
        """Take over all images."""
        self._shelf.load(state)

    def reset(self) -> None:
        """Forget all images."""
        self._shelf.reset()

    async def _submit(self, exchange: Exchange) -> SimulatedReply:
        account = exchange.require_account()
        wanted = parse_submission(exchange.body, self._errors)
        self._check_terms(exchange, wanted)
        repetition = self._world.occurrence(self.name, account.key, exchange.body_sha256)
        root = (self._world.config.seed, self.name, account.key, exchange.body_sha256, repetition)
        ids = tuple(uuid4_like(*root, index) for index in range(exchange.links(wanted.variants)))
        group = uuid4_like(*root, "group") if wanted.variants > 1 else None
        charge = Charge(group or ids[0], ids[: wanted.variants], Decimal(wanted.credits), "credit")
        if not self._world.charge(exchange, account, charge):
            raise self._errors.refuse("INSUFFICIENT_CREDITS", exchange.base_url)
        for index, image_id in enumerate(ids):
            self._begin(exchange, wanted, image_id, index, group)
        return SimulatedReply.json(202, {"data": {"ids": list(ids), "variantGroupId": group, "status": "pending"}})

    def _check_terms(self, exchange: Exchange, wanted: BloomSubmission) -> None:
        account = exchange.require_account()
        brand = BRANDS.get(wanted.brand)
        if brand is None:
            raise self._errors.refuse("BRAND_NOT_FOUND")
        if brand in REFUSALS:
            raise self._errors.refuse(REFUSALS[brand])
        if any(self._shelf.owned(account.key, reference) is None for reference in wanted.references):
            raise self._errors.refuse("REFERENCE_IMAGE_NOT_FOUND")
        if account.terms.payment_required:
            raise self._errors.refuse("PAYMENT_REQUIRED", exchange.base_url)
        if wanted.size == "4K" and account.terms.plan == "free":
            raise self._errors.refuse("FEATURE_NOT_ENTITLED")

    def _begin(self, exchange: Exchange, wanted: BloomSubmission, image_id: str, index: int, group: str | None) -> None:
        world, marks = self._world, exchange.marks
        latency = between(*self._settings.latency, world.config.seed, image_id, "latency")
        now = world.clock.now()
        reasons = [("content_safety", "moderated"), ("rate_limited", "rate_limited")]
        reason = next((name for name, mark in reasons if mark in marks), None)
        image = BloomImage(
            id=image_id,
            number=self._shelf.next_number(),
            key=exchange.require_account().key,
            brand=wanted.brand,
            group=group,
            created=now,
            started=world.clock.after(latency * _QUEUED_SHARE),
            ready=world.clock.after(latency),
            fails=bool(marks & {"moderated", "rate_limited", "failed"}),
            reason=reason,
            skew=world.skew(self.name),
        )
        self._shelf.add(image)
        size = size_for(wanted.ratio, world.config.pixels)
        form = self._settings.image_format
        sketch = Sketch(world.config.seed, wanted.prompt, wanted.model, wanted.ratio, index, *size, form)
        submission = exchange.line.submission_id if exchange.line else image_id
        picture = DrawnPicture(image_id, self.name, image.key, submission, sketch, now)
        picture.defect = defect_in(marks)
        picture.expires_at_once = "expired" in marks
        world.gallery.add(picture)

    async def _get(self, exchange: Exchange) -> SimulatedReply:
        patience = parse_patience(exchange.query, self._errors)
        image = self._owned(exchange)
        await self._hold([image], patience)
        return SimulatedReply.json(200, {"data": self._json(exchange, image)})

    async def _list(self, exchange: Exchange) -> SimulatedReply:
        patience = parse_patience(exchange.query, self._errors)
        listing = parse_listing(exchange.query, self._errors)
        if listing.brand and listing.brand not in BRANDS:
            raise self._errors.refuse("BRAND_NOT_FOUND")
        newest, lists = self._shelf.newest(exchange.require_account().key, listing.ids), self._lists
        if listing.ids is not None:
            newest = [image for image in newest if not lists.lags(image) and not self._is_denied(exchange, image)]
            await self._hold(newest, patience)
        else:
            newest = lists.shown(newest)
        now, after = self._world.clock.now(), listing.after

        def wanted(image: BloomImage) -> bool:
            return listing.wants(image, now) and (after is None or lists.place(image) > after)

        page, more = cut_page(newest, wanted, listing.limit if listing.ids else lists.page_size(listing.limit))
        rows = [self._row(exchange, image, signed=listing.signed_urls) for image in page]
        if listing.ids is None:
            rows = lists.mixed(rows, {**stranger_json(now, listing.brand), **listing.filters}, "createdAt")
        cursor = cursor_after(lists.place(page[-1])) if more else None
        return SimulatedReply.json(200, {"data": {"images": rows, "nextCursor": cursor, "hasMore": more}})

    def _is_denied(self, exchange: Exchange, image: BloomImage) -> bool:
        picture = self._world.gallery.get(image.id)
        return picture is not None and exchange.hides(picture.sketch.prompt)

    async def _hold(self, images: list[BloomImage], patience: Patience) -> None:
        if patience.wait and images:
            clock = self._world.clock
            await clock.sleep_until(min(max(image.ready for image in images), clock.after(patience.seconds)))

    def _row(self, exchange: Exchange, image: BloomImage, *, signed: bool) -> dict[str, Any]:
        row = {**self._json(exchange, image, signed=signed), "brandSessionId": image.brand}
        if row["imageUrl"] is None:
            row.pop("imageUrl")  # optional in lists, and a client should have met that here first
        return row

    def _json(self, exchange: Exchange, image: BloomImage, *, signed: bool = False) -> dict[str, Any]:
        picture = self._world.gallery.get(image.id)
        if picture is None:
            raise self._errors.refuse("IMAGE_NOT_FOUND")
        base = "" if self._settings.relative_urls else exchange.base_url
        url = exchange.base_url + self._delivery.target(picture) if signed else f"{base}/bloom/img/{image.id}"
        return self._lists.echoed(image_json(image, picture, self._world.clock.now(), url), "prompt")

    def _owned(self, exchange: Exchange) -> BloomImage:
        key, image_id = exchange.require_account().key, exchange.path_params["id"].lower()
        image = self._shelf.owned(key, image_id)
        if image is None or self._lists.lags(image) or exchange.hides():
            raise self._errors.refuse("IMAGE_NOT_FOUND")
        return image

    async def _delete(self, exchange: Exchange) -> SimulatedReply:
        image = self._owned(exchange)
        self._shelf.remove(image)
        gone = {"id": image.id, "source": "generated", "workspaceId": None, "workspaceName": WORKSPACE_NAME}
        return SimulatedReply.json(200, {"data": gone})

    async def _delete_many(self, exchange: Exchange) -> SimulatedReply:
        key = exchange.require_account().key
        images = list(self._shelf.newest(key, parse_ids(exchange.query, self._errors)))
        for image in images:
            self._shelf.remove(image)
        return SimulatedReply.json(200, {"data": {"deletedCount": len(images)}})

    async def _brands(self, exchange: Exchange) -> SimulatedReply:
        key = exchange.require_account().key
        rows = [brand_json(brand, self._shelf.count(key, brand)) for brand in BRANDS]
        return SimulatedReply.json(200, {"data": {"brands": rows, "nextCursor": None, "hasMore": False}})

    async def _brand(self, exchange: Exchange) -> SimulatedReply:
        brand = exchange.path_params["id"].lower()
        if brand not in BRANDS:
            return self._errors.reply("BRAND_NOT_FOUND", status=404)
        return SimulatedReply.json(
            200, {"data": brand_json(brand, self._shelf.count(exchange.require_account().key, brand))}
        )

    async def _account(self, exchange: Exchange) -> SimulatedReply:
        return SimulatedReply.json(
            200, {"data": {"email": "simulator@bloom.example", "name": exchange.require_account().key}}
        )

    async def _workspaces(self, _exchange: Exchange) -> SimulatedReply:
        personal = {"id": None, "name": WORKSPACE_NAME, "is_personal": True}
        return SimulatedReply.json(200, {"data": {"workspaces": [personal]}})

    async def _credits(self, exchange: Exchange) -> SimulatedReply:
        if exchange.query.get("workspaceId"):
            return self._errors.reply("WORKSPACE_NOT_FOUND")
        account = exchange.require_account()
        return SimulatedReply.json(
            200, {"data": {"balance": float(account.balance), "unlimited": account.terms.unlimited}}
        )

    async def _redirect(self, exchange: Exchange) -> SimulatedReply:
        picture = self._delivery.delivered(exchange)
        if picture is None:
            return self._errors.reply("NOT_FOUND")
        return SimulatedReply(
            302, headers={"location": exchange.base_url + self._delivery.target(picture)}, content_type="text/plain"
        )
