"""Wires that speak to a simulator over real sockets."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import httpx
from pydantic import SecretStr

from ops.simulator import Simulator
from worker.api_get import ApiGet
from worker.paid_post import PaidPost
from worker.providers import Wire, WireSettings, wire_for
from worker.providers.contract import PaidCall

_CERTIFICATES = httpx.create_ssl_context()  # takes 30 ms and more
BRAND = "11111111-1111-4111-8111-111111111111"


def base_url(sim: Simulator, provider: str) -> str:
    return {"bloom": sim.bloom_url, "getimg": sim.getimg_url}[provider]


def body(provider: str, prompt: str = "a quiet harbour", **extra: Any) -> dict[str, Any]:
    if provider == "bloom":
        return {"prompt": prompt, "brandSessionId": BRAND, **extra}
    return {"prompt": prompt, "model": "sim-photo", **extra}


class Caller:
    """Asks one provider of a simulator; each call has a loop and connections of its own."""

    def __init__(self, sim: Simulator, provider: str, *, key: str = "sim-a", seconds: float = 5) -> None:
        self.provider = provider
        self._seconds = seconds
        self._base_url = base_url(sim, provider)
        self._key = SecretStr(key)

    def submit(self, wanted: Mapping[str, Any] | None = None, **extra: Any) -> Any:
        """Pay once; return what the wire returned."""
        chosen = wanted if wanted is not None else body(self.provider, **extra)
        return anyio.run(self._ask, lambda wire: wire.submit(PaidCall(chosen, time.monotonic() + 5, "submission-1")))

    def poll(self, upstream_ids: Sequence[str]) -> Any:
        """Ask for pictures; return what the wire returned."""
        return anyio.run(self._ask, lambda wire: wire.poll(upstream_ids))

    async def _ask(self, question: Any) -> Any:
        post = PaidPost(timeout_seconds=self._seconds, connect_seconds=1, ssl_context=_CERTIFICATES)
        get = ApiGet(timeout_seconds=self._seconds, connect_seconds=1, ssl_context=_CERTIFICATES)
        wire: Wire = wire_for(self.provider, WireSettings(self._base_url, self._key, post, get))
        try:
            return await question(wire)
        finally:
            await post.close()
            await get.close()
