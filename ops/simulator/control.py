"""The control API under ``/_sim``: bill, request log, pictures, faults, settings and accounts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ops.simulator.gallery import summary
from ops.simulator.world import World

_MOST = 1000


class Control:
    """Answers in JSON; what is asked wrongly is a 400 with ``{"error": ...}``."""

    def __init__(self, world: World, forget: Callable[[], None]) -> None:
        self._world = world
        self._forget = forget

    def routes(self) -> Sequence[Route]:
        """Return the routes of the control API."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "/_sim/health", self._health),
            ("GET", "/_sim/bill", self._bill),
            ("GET", "/_sim/requests", self._requests),
            ("GET", "/_sim/counters", self._counters),
            ("GET", "/_sim/images", self._images),
            ("GET", "/_sim/images/{id:path}", self._image),
            ("GET", "/_sim/faults", self._faults),
            ("PUT", "/_sim/faults", self._put_faults),
            ("GET", "/_sim/settings", self._settings),
            ("PUT", "/_sim/settings", self._put_settings),
            ("GET", "/_sim/accounts", self._accounts),
            ("POST", "/_sim/accounts/{provider}/{key}", self._change_account),
            ("POST", "/_sim/reset", self._reset),
        ]
        return [Route(path, _answering(handler), methods=[method]) for method, path, handler in table]

    async def _health(self, _request: Request) -> Any:
        config = self._world.config
        return {
            "ok": True,
            "time_scale": config.time_scale,
            "seed": config.seed,
            "now": self._world.clock.now(),
        }

    async def _bill(self, request: Request) -> Any:
        query = request.query_params
        short = query.get("summary", "") in {"1", "true"}
        return self._world.bill.as_json(query.get("provider"), query.get("key"), summary=short)

    async def _requests(self, request: Request) -> Any:
        filters = dict(request.query_params)
        limit = int(filters.pop("limit", _MOST))
        if "paid" in filters:
            filters["paid"] = str(filters["paid"] in {"1", "true"})
        return {"requests": self._world.journal.entries(filters, limit)}

    async def _counters(self, _request: Request) -> Any:
        return self._world.journal.counters()

    async def _images(self, request: Request) -> Any:
        query = request.query_params
        start, limit = int(query.get("offset", 0)), int(query.get("limit", _MOST))
        pictures = self._world.gallery.all(query.get("provider"))
        return {"total": len(pictures), "images": [summary(item) for item in pictures[start : start + limit]]}

    async def _image(self, request: Request) -> Any:
        picture = self._world.gallery.get(request.path_params["id"])
        if picture is None:
            return JSONResponse({"error": "no such image"}, 404)
        return await self._world.gallery.describe(picture)

    async def _faults(self, _request: Request) -> Any:
        return self._world.faults.document

    async def _put_faults(self, request: Request) -> Any:
        self._world.faults.put(await request.json())
        return self._world.faults.document

    async def _settings(self, _request: Request) -> Any:
        return self._world.settings_json()

    async def _put_settings(self, request: Request) -> Any:
        self._world.put_settings(await request.json())
        return self._world.settings_json()

    async def _accounts(self, _request: Request) -> Any:
        return {"accounts": [account.as_json() for account in self._world.accounts.all()]}

    async def _change_account(self, request: Request) -> Any:
        provider, key = request.path_params["provider"], request.path_params["key"]
        return self._world.accounts.change(provider, key, await request.json()).as_json()

    async def _reset(self, _request: Request) -> Any:
        self._forget()
        return {"ok": True}


def _answering(handler: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            document = await handler(request)
        except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
            return JSONResponse({"error": str(error) or type(error).__name__}, 400)
        return document if isinstance(document, Response) else JSONResponse(document)

    return answer
