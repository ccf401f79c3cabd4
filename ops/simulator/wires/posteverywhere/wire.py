"""PostEverywhere's operations after its guide: generate, the media library, the account, and the files behind it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from starlette.datastructures import Headers

from ops.simulator.bill import BillLine
from ops.simulator.clock import iso
from ops.simulator.config import PostEverywhereSettings
from ops.simulator.draws import between, digest, uuid4_like
from ops.simulator.exchange import Exchange, Operation, Success
from ops.simulator.files import download
from ops.simulator.gallery import DrawnPicture
from ops.simulator.links import LinkState
from ops.simulator.lists import Lists
from ops.simulator.marks import defect_in
from ops.simulator.pictures import Sketch, size_for
from ops.simulator.replies import RefusalError, SimulatedReply
from ops.simulator.sale import Charge
from ops.simulator.windows import rate_headers, retry_after
from ops.simulator.wires.posteverywhere.errors import Envelope
from ops.simulator.wires.posteverywhere.media import Library, Media, media_json, stranger_json
from ops.simulator.wires.posteverywhere.profile import profile_json
from ops.simulator.wires.posteverywhere.submission import PostEverywhereSubmission, parse_submission
from ops.simulator.world import World

_API = "/posteverywhere/api/v1"
_FILES = "/posteverywhere/files"
_DELIVERY = "/posteverywhere/imagedelivery"
_SUCCESS = Success(201, (("data", "media_id"), ("data", "media_ids", 0)))
_MOST_LISTED = 100


class PostEverywhereWire:
    """The images of PostEverywhere under ``{url}/posteverywhere``; the API under ``{url}/posteverywhere/api/v1``."""

    name = "posteverywhere"

    def __init__(self, world: World) -> None:
        self._world = world
        self._lists = Lists(world, self.name)
        self._library = Library()

    @property
    def _settings(self) -> PostEverywhereSettings:
        return self._world.config.posteverywhere

    @property
    def _envelope(self) -> Envelope:
        return Envelope(retryable=self._settings.retryable, skew=self._settings.clock_seconds)

    def operations(self) -> Sequence[Operation]:
        """Return everything that this wire answers."""
        return (
            Operation("POST", f"{_API}/ai/generate-image", "submit", self._submit, pays=True, success=_SUCCESS),
            Operation("GET", f"{_API}/media/{{id}}", "poll", self._get),
            Operation("DELETE", f"{_API}/media/{{id}}", "delete", self._delete),
            Operation("GET", f"{_API}/media", "list", self._list),
            Operation("GET", f"{_API}/me", "account", self._me),
            Operation("GET", f"{_FILES}/{{id}}", "download", self._download, public=True),
            Operation("GET", f"{_DELIVERY}/{{library}}/{{id}}/public", "download", self._download, public=True),
            Operation("GET", f"{_DELIVERY}/{{library}}/{{id}}/thumbnail", "thumbnail", self._thumbnail, public=True),
        )

    def credential(self, headers: Headers) -> str | None:
        """Return the bearer token."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def route_of(self, operation: Operation, exchange: Exchange) -> str:  # noqa: ARG002 - one path, one route here
        """Return the operation's route."""
        return operation.route

    def picture_of(self, exchange: Exchange) -> str | None:
        """Return the media id in a file's path."""
        return exchange.path_params.get("id")

    def admit(self, exchange: Exchange) -> None:
        """Raise PostEverywhere's 401, 403 or 429; generating has an hourly limit of its own."""
        accounts, settings = self._world.accounts, self._settings
        account = accounts.find(self.name, self.credential(exchange.headers))
        if account is None:
            raise self._envelope.refuse("unauthorized", exchange)
        exchange.account = account
        generation = exchange.route == "submit"
        if account.terms.banned:
            raise self._envelope.refuse("authentication_failed", exchange)
        if account.terms.forbidden and generation:
            lacking = "authentication_failed" if settings.missing_scope_status == 401 else "forbidden"  # noqa: PLR2004 - an HTTP status
            raise self._envelope.refuse(lacking, exchange)
        full = accounts.take_turn(account, generation=generation)
        if full is not None:
            wait = retry_after(full, self._world.clock.now())
            details = {"retryAfter": int(wait)} if settings.rate_code == "rate_limited" else None
            reply = self._envelope.error(settings.rate_code, exchange, details=details)
            reply.headers["retry-after"] = wait
            raise RefusalError(reply)

    def refusal(self, status: int, exchange: Exchange, code: str | None = None) -> SimulatedReply:
        """Return PostEverywhere's error of that status."""
        return self._envelope.usual(status, code, exchange)

    def id_of(self, line: BillLine) -> str:
        """Return the media id."""
        return line.submission_id

    def decorate(self, exchange: Exchange, reply: SimulatedReply) -> None:
        """Add the ``X-RateLimit-*`` headers of the window in which the fewest requests remain."""
        window = self._world.accounts.tightest(exchange.require_account(), generation=exchange.route == "submit")
        if window is not None:
            reply.headers.update(rate_headers(window, self._world.clock.now(), "epoch", self._world.skew(self.name)))

    def dump(self) -> dict[str, Any]:
        """Return all media."""
        return self._library.dump()

    def load(self, state: dict[str, Any]) -> None:
        """Take over all media."""
        self._library.load(state)

    def reset(self) -> None:
        """Forget all media."""
        self._library.reset()

    async def _submit(self, exchange: Exchange) -> SimulatedReply:
        account, world = exchange.require_account(), self._world
        wanted = parse_submission(exchange, self._envelope, self._settings.default_model)
        if "moderated" in exchange.marks:
            message = "Invalid prompt. It was refused by the content policy"
            raise self._envelope.refuse("validation_error", exchange, message=message)
        if account.terms.payment_required:
            raise self._envelope.refuse("insufficient_credits", exchange)
        repetition = world.occurrence(self.name, account.key, exchange.body_sha256)
        root = (world.config.seed, self.name, account.key, exchange.body_sha256, repetition)
        media_id = uuid4_like(*root)
        if not world.charge(exchange, account, Charge(media_id, (media_id,), wanted.credits, "credit")):
            raise self._short_of_credits(exchange, wanted)
        remaining = account.balance
        await world.clock.sleep(between(*self._settings.latency, *root, "latency"))
        more = [uuid4_like(*root, number) for number in range(1, exchange.links(1))]
        picture, *_others = [self._keep(exchange, wanted, name) for name in (media_id, *more)]
        reply = self._reply_json(wanted, picture, [media_id, *more])
        stated = wanted.credits * self._settings.cost_factor
        used = int(stated) if stated == int(stated) else stated
        reply |= {"credits_used": used, "credits_remaining": int(remaining)}
        return self._envelope.data(201, reply, exchange)

    def _short_of_credits(self, exchange: Exchange, wanted: PostEverywhereSubmission) -> RefusalError:
        price, left = int(wanted.credits), int(exchange.require_account().balance)
        message = f"Not enough credits. This model costs {price} credits but you have {left} available."
        details = {"credits_required": price, "credits_available": left, "model": wanted.model}
        return self._envelope.refuse("insufficient_credits", exchange, message=message, details=details)

    def _keep(self, exchange: Exchange, wanted: PostEverywhereSubmission, media_id: str) -> DrawnPicture:
        world, key = self._world, exchange.require_account().key
        now = world.clock.now()
        processing = (0.0, 0.0) if self._settings.url_lag_seconds else self._settings.processing_seconds
        seconds = between(*processing, world.config.seed, media_id, "processing")
        ready, fails = now + world.clock.real(seconds), "failed" in exchange.marks
        self._library.add(Media(media_id, self._library.next_number(), key, now, ready, fails, world.skew(self.name)))
        size = size_for(wanted.ratio, world.config.pixels)
        form = self._settings.image_format
        sketch = Sketch(world.config.seed, wanted.prompt, wanted.model, wanted.ratio, 0, *size, form)
        picture = DrawnPicture(media_id, self.name, key, media_id, sketch, now)
        picture.defect = defect_in(exchange.marks)
        picture.expires_at_once = "expired" in exchange.marks
        world.gallery.add(picture)
        return picture

    def _reply_json(self, wanted: PostEverywhereSubmission, picture: DrawnPicture, ids: list[str]) -> dict[str, Any]:
        step = f'Image generated. Attach it to a post by passing "media_ids": ["{picture.id}"] to POST /v1/posts.'
        handle = {"media_id": picture.id, "media_ids": ids}
        if self._settings.reply_shape == "older":
            return {**handle, "model": wanted.model, "message": step}
        return {
            **handle,
            "type": "image",
            "width": picture.sketch.width,
            "height": picture.sketch.height,
            "aspect_ratio": wanted.ratio,
            "ai": {"model": wanted.model, "prompt": wanted.prompt},
            "created_at": iso(picture.created + self._settings.clock_seconds),
            "next_step": step,
        }

    async def _get(self, exchange: Exchange) -> SimulatedReply:
        media = self._owned(exchange)
        row = {**await self._row(exchange, media), "media_ids": [media.id]}
        row.pop("thumbnail_url", None)  # lists alone have it
        return self._envelope.data(200, row, exchange)

    async def _list(self, exchange: Exchange) -> SimulatedReply:
        limit, offset = self._number(exchange, "limit", 20, 1), self._number(exchange, "offset", 0, 0)
        kind = exchange.query.get("type", "image")
        if kind not in {"image", "video", "document"}:
            message = "Invalid type. Must be one of: image, video, document"
            raise self._envelope.refuse("validation_error", exchange, message=message)
        owned = self._lists.shown(self._library.newest(exchange.require_account().key)) if kind == "image" else ()
        # Before anything is awaited: a purchase meanwhile would change what is walked through.
        page = list(islice(owned, offset, offset + self._lists.page_size(limit)))
        rows = [await self._row(exchange, media) for media in page]
        stranger = stranger_json(self._world.clock.now(), self._settings.status_field)
        rows = self._lists.mixed(rows, {**stranger, "type": kind}, "created_at")
        document = {
            self._settings.list_field: rows,
            "media_ids": [row["media_id"] for row in rows],
            "pagination": {"limit": limit, "offset": offset},
        }
        return self._envelope.data(200, document, exchange)

    def _number(self, exchange: Exchange, name: str, default: int, least: int) -> int:
        text = exchange.query.get(name, str(default))
        most = _MOST_LISTED if name == "limit" else None
        if not (text.isascii() and text.isdigit()) or int(text) < least or (most is not None and int(text) > most):
            raise self._envelope.refuse("validation_error", exchange, message=f"Invalid {name}")
        return int(text)

    async def _row(self, exchange: Exchange, media: Media) -> dict[str, Any]:
        gallery, now, settings = self._world.gallery, self._world.clock.now(), self._settings
        picture = gallery.get(media.id)
        if picture is None:
            raise self._envelope.refuse("not_found", exchange)
        ready = media.status_at(now) == "ready"
        size = len(await gallery.file(picture)) if ready else None
        row = media_json(media, picture, now, size, settings.status_field)
        if settings.url != "absent":
            path = f"{_DELIVERY}/{digest(media.key).hex()[:22]}/{media.id}"
            shown = f"{path}/public" if settings.url == "permanent" else self._signed(picture)
            linked = ready and now >= media.created + settings.url_lag_seconds
            row["url"] = exchange.base_url + shown if linked else None
            row["thumbnail_url"] = f"{exchange.base_url}{path}/thumbnail" if ready else None
        return row

    def _signed(self, picture: DrawnPicture) -> str:
        links, skew = self._world.links, self._world.skew(self.name)
        expires = links.at_once(skew) if picture.expires_at_once else links.expiry(self._settings.link_seconds, skew)
        return links.sign(f"{_FILES}/{picture.id}", expires)

    def _owned(self, exchange: Exchange) -> Media:
        media = self._library.owned(exchange.require_account().key, exchange.path_params["id"].lower())
        if media is None or self._lists.lags(media) or exchange.hides():
            raise self._envelope.refuse("not_found", exchange, message="Media not found")
        return media

    async def _delete(self, exchange: Exchange) -> SimulatedReply:
        media = self._owned(exchange)
        self._library.remove(media)
        self._world.gallery.remove(media.id)
        return self._envelope.data(200, {"media_id": media.id, "deleted": True}, exchange)

    async def _me(self, exchange: Exchange) -> SimulatedReply:
        account = exchange.require_account()
        document = profile_json(account, self._world.bill.spent(self.name, account.key))
        return (
            self._envelope.data(200, document, exchange)
            if self._settings.me_envelope
            else SimulatedReply.json(200, document)
        )

    async def _download(self, exchange: Exchange) -> SimulatedReply:
        signed, skew = exchange.path.startswith(_FILES), self._world.skew(self.name)
        if signed and self._world.links.check(exchange.path, exchange.query, skew) is not LinkState.good:
            return SimulatedReply(403, b"Forbidden", "text/plain")
        if "expired" in exchange.marks and signed:
            return SimulatedReply(403, b"Forbidden", "text/plain")
        picture = self._delivered(exchange)
        if picture is None:
            return SimulatedReply(404, b"Not found", "text/plain")
        return await download(self._world, exchange, picture)

    async def _thumbnail(self, exchange: Exchange) -> SimulatedReply:
        picture = self._delivered(exchange)
        if picture is None:
            return SimulatedReply(404, b"Not found", "text/plain")
        sketch = picture.sketch
        small = replace(sketch, width=max(1, sketch.width // 4), height=max(1, sketch.height // 4))
        preview = replace(picture, id=f"{picture.id}/thumbnail", sketch=small)
        return SimulatedReply(200, await self._world.gallery.file(preview), picture.content_type)

    def _delivered(self, exchange: Exchange) -> DrawnPicture | None:
        media = self._library.anyones(exchange.path_params["id"].lower())
        if media is None or exchange.hides() or media.status_at(self._world.clock.now()) != "ready":
            return None
        return self._world.gallery.get(media.id)
