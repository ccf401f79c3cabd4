"""Banatie's operations after its API reference: generations, lookups of images, and the CDN."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from starlette.datastructures import Headers

from ops.simulator.bill import BillLine
from ops.simulator.clock import iso
from ops.simulator.config import BanatieSettings
from ops.simulator.draws import uuid4_like
from ops.simulator.exchange import Exchange, Operation, Success
from ops.simulator.files import download
from ops.simulator.gallery import DrawnPicture
from ops.simulator.lists import Lists
from ops.simulator.marks import marks_in
from ops.simulator.replies import RefusalError, SimulatedReply
from ops.simulator.windows import rate_headers, retry_after
from ops.simulator.wires.banatie.errors import error_reply, refuse, usual_reply
from ops.simulator.wires.banatie.generations import (
    STATUSES,
    BanatieGeneration,
    Projects,
    image_json,
    project_id,
    project_name,
    stranger_json,
)
from ops.simulator.wires.banatie.studio import Studio
from ops.simulator.wires.banatie.submission import (
    enhanced,
    parse_prompt,
    parse_ratio,
    parse_submission,
    read_object,
)
from ops.simulator.world import World

_API = "/banatie/api/v1"
_CDN = "/banatie/cdn"
_SUCCESS = Success(201, (("data", "id"),))
_ORGANIZATION = "simulated"


class BanatieWire:
    """The whole of Banatie under ``{url}/banatie``, its files under ``{url}/banatie/cdn``."""

    name = "banatie"

    def __init__(self, world: World) -> None:
        self._world = world
        self._lists = Lists(world, self.name)
        self._projects = Projects()
        self._studio = Studio(world)

    @property
    def _settings(self) -> BanatieSettings:
        return self._world.config.banatie

    def operations(self) -> Sequence[Operation]:
        """Return everything that this wire answers."""
        one = f"{_API}/generations/{{id}}"
        return (
            Operation("POST", f"{_API}/generations", "submit", self._submit, pays=True, success=_SUCCESS),
            Operation("POST", f"{one}/regenerate", "regenerate", self._regenerate, pays=True),
            Operation("PUT", one, "update", self._update, pays=True),
            Operation("GET", one, "poll", self._get),
            Operation("DELETE", one, "delete", self._delete),
            Operation("GET", f"{_API}/generations", "list", self._list),
            Operation("GET", f"{_API}/flows/{{flow}}/generations", "list", self._list),
            Operation("GET", f"{_API}/images/{{image}}", "image", self._image),
            Operation("GET", f"{_CDN}/{{org}}/{{project}}/img/{{image}}", "download", self._download, public=True),
        )

    def credential(self, headers: Headers) -> str | None:
        """Return the project key."""
        return headers.get("x-api-key")

    def route_of(self, operation: Operation, exchange: Exchange) -> str:  # noqa: ARG002 - one path, one route here
        """Return the operation's route."""
        return operation.route

    def picture_of(self, exchange: Exchange) -> str | None:
        """Return the id of the picture of a generation, or behind a CDN path, which may name it by alias."""
        params, key = exchange.path_params, exchange.account.key if exchange.account else ""
        if "project" in params:
            generation = self._behind(exchange)
        else:
            generation = self._projects.owned(key, params.get("id", "").lower())
        return generation.image if generation else None

    def admit(self, exchange: Exchange) -> None:
        """Raise Banatie's 401, 403, 402 or 429."""
        accounts = self._world.accounts
        account = accounts.find(self.name, self.credential(exchange.headers))
        if account is None:
            raise refuse("UNAUTHORIZED")
        exchange.account = account
        if account.terms.banned:
            raise refuse("UNAUTHORIZED", "API key has expired")
        if account.terms.forbidden:
            raise refuse("FORBIDDEN")
        full = accounts.take_turn(account)
        if full is not None:
            reply = error_reply("RATE_LIMIT_EXCEEDED")
            if self._settings.retry_after:
                reply.headers["retry-after"] = retry_after(full, self._world.clock.now())
            raise RefusalError(reply)

    def refusal(self, status: int, exchange: Exchange, code: str | None = None) -> SimulatedReply:  # noqa: ARG002 - no links here
        """Return Banatie's error of that status."""
        return usual_reply(status, code)

    def id_of(self, line: BillLine) -> str:
        """Return the generation's id, whichever of its runs the line is for."""
        return line.submission_id.partition("/")[0]

    def decorate(self, exchange: Exchange, reply: SimulatedReply) -> None:
        """Add the ``X-RateLimit-*`` headers."""
        window = self._world.accounts.tightest(exchange.require_account())
        if window is not None:
            unit, skew = self._settings.rate_reset, self._world.skew(self.name)
            reply.headers.update(rate_headers(window, self._world.clock.now(), unit, skew))

    def dump(self) -> dict[str, Any]:
        """Return all generations."""
        return self._projects.dump()

    def load(self, state: dict[str, Any]) -> None:
        """Take over all generations."""
        self._projects.load(state)

    def reset(self) -> None:
        """Forget all generations."""
        self._projects.reset()

    async def _submit(self, exchange: Exchange) -> SimulatedReply:
        account, world = exchange.require_account(), self._world
        wanted = parse_submission(exchange.body)
        for reference in wanted.references:
            if self._projects.with_image(account.key, reference) is None:
                raise refuse("IMAGE_NOT_FOUND", "A reference image does not exist")
        namesake = self._projects.with_image(account.key, wanted.alias) if wanted.alias else None
        if namesake is not None and namesake.status_at(world.clock.now()) != "failed":
            raise refuse("ALIAS_CONFLICT")
        repetition = world.occurrence(self.name, account.key, exchange.body_sha256)
        root = (world.config.seed, self.name, account.key, exchange.body_sha256, repetition)
        generation = self._studio.create(wanted, account.key, uuid4_like(*root), self._projects.next_number())
        self._studio.run(exchange, generation, exchange.marks)
        self._projects.add(generation)
        return await self._started(exchange, generation, 201)

    async def _started(self, exchange: Exchange, generation: BanatieGeneration, status: int) -> SimulatedReply:
        """Answer at once, or when the image is made; only then does the answer carry it."""
        clock = self._world.clock
        if self._settings.answer == "early":
            return SimulatedReply.json(status, {"success": True, "data": generation.created_json(clock.now())})
        await clock.sleep_until(generation.ready)
        if generation.failure and self._settings.failure_status != status:
            return error_reply("GENERATION_FAILED", generation.failure)
        full = await self._full(exchange, generation)
        return SimulatedReply.json(status, {"success": True, "data": {**full, "flowId": generation.flow}})

    async def _regenerate(self, exchange: Exchange) -> SimulatedReply:
        generation = self._owned(exchange)
        generation.runs += 1
        self._studio.run(exchange, generation, marks_in(generation.original))
        return await self._started(exchange, generation, 200)

    async def _update(self, exchange: Exchange) -> SimulatedReply:
        generation, document = self._owned(exchange), read_object(exchange.body)
        draft = replace(generation, updated=self._world.clock.now())
        if "prompt" in document:
            draft.original = parse_prompt(document["prompt"])
            draft.prompt = enhanced(draft.original, draft.template, enhance=draft.enhance)
        draft.ratio = parse_ratio(document.get("aspectRatio", draft.ratio))
        if not isinstance(document.get("meta", {}), dict):
            raise refuse("VALIDATION_ERROR", "meta must be an object")
        draft.meta = document.get("meta", draft.meta)
        again = (draft.original, draft.ratio) != (generation.original, generation.ratio)
        if again:
            draft.runs += 1
            self._studio.run(exchange, draft, marks_in(draft.original))
        self._projects.add(draft)
        if again:
            return await self._started(exchange, draft, 200)
        return SimulatedReply.json(200, {"success": True, "data": await self._full(exchange, draft)})

    async def _get(self, exchange: Exchange) -> SimulatedReply:
        row = self._echoed(await self._full(exchange, self._owned(exchange)))
        return SimulatedReply.json(200, {"success": True, "data": row})

    def _echoed(self, row: dict[str, Any]) -> dict[str, Any]:
        return self._lists.echoed(row, "prompt", "originalPrompt")

    async def _list(self, exchange: Exchange) -> SimulatedReply:
        query, now, key = exchange.query, self._world.clock.now(), exchange.require_account().key
        status, flow = query.get("status"), exchange.path_params.get("flow") or query.get("flowId")
        if status is not None and status not in STATUSES:
            raise refuse("VALIDATION_ERROR", f"status must be one of {', '.join(STATUSES)}")
        limit, offset = _number(exchange, "limit", 20, 1, 100), _number(exchange, "offset", 0, 0, 10**9)
        found = [
            item
            for item in self._lists.shown(self._projects.newest(key))
            if status in {None, item.status_at(now)} and flow in {None, item.flow}
        ]
        page = islice(found, offset, offset + self._lists.page_size(limit))
        rows = [self._echoed(item.row_json(now, meta=self._settings.list_meta)) for item in page]
        pages = {"limit": limit, "offset": offset, "total": len(found), "hasMore": offset + len(rows) < len(found)}
        rows = self._lists.mixed(rows, stranger_json(now, status or "success"), "createdAt")
        return SimulatedReply.json(200, {"success": True, "data": rows, "pagination": pages})

    async def _delete(self, exchange: Exchange) -> SimulatedReply:
        generation = self._owned(exchange)
        self._projects.remove(generation)
        if generation.alias is None:
            self._world.gallery.remove(generation.image)
        return SimulatedReply.json(200, {"success": True, "message": "Generation deleted"})

    async def _image(self, exchange: Exchange) -> SimulatedReply:
        key = exchange.require_account().key
        generation = self._projects.with_image(key, exchange.path_params["image"])
        picture = self._finished(generation, self._world.clock.now())
        if generation is None or picture is None or self._lists.lags(generation) or exchange.hides():
            return error_reply("IMAGE_NOT_FOUND")
        described = await self._described(exchange, picture)
        more = {
            "projectId": project_id(key),
            "flowId": generation.flow,
            "storageKey": described["storageUrl"].partition(f"{_CDN}/")[2],
            "source": "generated",
            "alias": generation.alias,
            "focalPoint": None,
            "meta": generation.meta,
            "createdAt": iso(generation.ready + generation.skew),
        }
        return SimulatedReply.json(200, {"success": True, "data": {**described, **more}})

    async def _download(self, exchange: Exchange) -> SimulatedReply:
        picture = self._finished(self._behind(exchange), self._world.clock.now())
        if picture is None or exchange.hides():
            return error_reply("IMAGE_NOT_FOUND")
        return await download(self._world, exchange, picture)

    async def _full(self, exchange: Exchange, generation: BanatieGeneration) -> dict[str, Any]:
        # One moment for all fields: a generation that ends between two readings would be a success without a picture.
        now = self._world.clock.now()
        picture = self._finished(generation, now)
        output = await self._described(exchange, picture) if picture else None
        return generation.full_json(now, output)

    async def _described(self, exchange: Exchange, picture: DrawnPicture) -> dict[str, Any]:
        url = f"{exchange.base_url}{_CDN}/{_ORGANIZATION}/{project_name(picture.key)}/img/{picture.id}"
        return image_json(picture, url, len(await self._world.gallery.file(picture)))

    def _owned(self, exchange: Exchange) -> BanatieGeneration:
        generation = self._projects.owned(exchange.require_account().key, exchange.path_params["id"].lower())
        if generation is None or self._lists.lags(generation) or exchange.hides():
            raise refuse("GENERATION_NOT_FOUND")
        return generation

    def _behind(self, exchange: Exchange) -> BanatieGeneration | None:
        params = exchange.path_params
        key = self._projects.key_of(params["project"])
        return None if key is None else self._projects.with_image(key, params["image"])

    def _finished(self, generation: BanatieGeneration | None, now: float) -> DrawnPicture | None:
        if generation is None or generation.status_at(now) != "success":
            return None
        return self._world.gallery.get(generation.image)


def _number(exchange: Exchange, name: str, default: int, least: int, most: int) -> int:
    text = exchange.query.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise refuse("VALIDATION_ERROR", f"{name} must be an integer from {least} to {most}")
    return int(text)
