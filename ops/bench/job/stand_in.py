"""A cheap provider with Bloom's protocol: `python -m ops.bench.job.stand_in`; it prints its URL.

It serves one image of 200 kB for every id, through a redirect, and keeps the time at which each was ready.
"""

import asyncio
import random
import sys
import time
from typing import Final

from aiohttp import web

from ops.bench.job.picture import picture

_LATENCY: Final = (1.5, 3.0)  # seconds
_PICTURE: Final = picture()


class StandIn:
    """The state of one run: when each image is ready, and how often the provider was asked."""

    def __init__(self) -> None:
        self.ready: dict[str, float] = {}
        self.requests = 0

    async def submit(self, _: web.Request) -> web.Response:
        """Accept one image."""
        self.requests += 1
        name = f"i{len(self.ready)}-{random.getrandbits(40):x}"
        self.ready[name] = time.time() + random.uniform(*_LATENCY)
        return web.json_response({"data": {"ids": [name]}}, status=202)

    async def listed(self, request: web.Request) -> web.Response:
        """Say how far many images are."""
        self.requests += 1
        names = request.query.get("ids", "").split(",")
        return web.json_response({"data": {"images": [self._row(name) for name in names if name in self.ready]}})

    async def one(self, request: web.Request) -> web.Response:
        """Say how far one image is."""
        self.requests += 1
        return web.json_response({"data": self._row(request.match_info["name"])})

    def _row(self, name: str) -> dict[str, str]:
        if self.ready[name] > time.time():
            return {"id": name, "status": "generating"}
        return {"id": name, "status": "completed", "imageUrl": f"/i/{name}"}

    async def state(self, _: web.Request) -> web.Response:
        """Return what this run has seen."""
        return web.json_response({"requests": self.requests, "ready": self.ready})

    async def reset(self, _: web.Request) -> web.Response:
        """Begin another run."""
        self.ready, self.requests = {}, 0
        return web.json_response({})


async def _redirected(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": f"/blob/{request.match_info['name']}?signature=x"})


async def _blob(_: web.Request) -> web.Response:
    return web.Response(body=_PICTURE, content_type="image/png")


async def _none(_: web.Request) -> web.Response:
    return web.json_response({"data": {"brands": [], "balance": 1_000_000}})


async def serve() -> None:
    """Serve until the process ends."""
    state, app = StandIn(), web.Application()
    app.add_routes(
        [
            web.post("/images/generations", state.submit),
            web.get("/images", state.listed),
            web.get("/images/{name}", state.one),
            web.get("/i/{name}", _redirected),
            web.get("/blob/{name}", _blob),
            web.get("/credits", _none),
            web.get("/brands", _none),
            web.get("/state", state.state),
            web.post("/reset", state.reset),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{site.name.rpartition(':')[0]}:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
