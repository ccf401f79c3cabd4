"""Wires that speak to a simulator over real sockets."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, cast

import httpx
from pydantic import SecretStr

from ops.simulator import Simulator
from worker import event_loop
from worker.lost_calls.listing import read
from worker.providers import Wire, WireSettings, wire_for
from worker.providers.contract import PaidCall
from worker.providers.receipt import kept
from worker.transport.api_get import ApiGet
from worker.transport.paid_post import PaidPost, boot_clock
from worker.transport.spool import TooLarge

_CERTIFICATES = httpx.create_ssl_context()  # takes 30 ms and more
BRAND = "11111111-1111-4111-8111-111111111111"
PROVIDERS = ("bloom", "getimg", "openrouter", "posteverywhere", "banatie")
_KEPT_BYTES = 8_000_000
_NEEDED = {
    "bloom": {"brandSessionId": BRAND},
    "getimg": {"model": "sim-photo"},
    "openrouter": {"model": "sim/photo"},
    "posteverywhere": {"model": "flux-schnell"},
    "banatie": {},
}


def base_url(sim: Simulator, provider: str) -> str:
    return sim.addresses()[provider]


def body(provider: str, prompt: str = "a quiet harbour", **extra: Any) -> dict[str, Any]:
    return {"prompt": prompt, **_NEEDED[provider], **extra}


class _Kept(BytesIO):
    """The place for an inline answer, with a cap as the real one has."""

    def write(self, chunk: Any) -> int:
        if self.tell() + len(chunk) > _KEPT_BYTES:
            raise TooLarge("too much for a test")
        return super().write(chunk)


class Caller:
    """Asks one provider of a simulator; each call has a loop and connections of its own.

    What the last answer of an inline wire brought lies in `reply`.
    """

    def __init__(
        self, sim: Simulator, provider: str, *, key: str = "sim-a", seconds: float = 5, media_without_url: str = "fail"
    ) -> None:
        self.provider = provider
        self.reply = _Kept()
        self._seconds = seconds
        self._base_url = base_url(sim, provider)
        self._key = SecretStr(key)
        self._media_without_url = media_without_url

    def submit(self, wanted: Mapping[str, Any] | None = None, *, reference: str = "submission-1", **extra: Any) -> Any:
        """Pay once; return what the wire returned, and for an inline one what its kept answer made of it."""
        chosen = wanted if wanted is not None else body(self.provider, **extra)
        self.reply = _Kept()

        async def pay(wire: Any) -> Any:
            answer = await wire.submit(PaidCall(chosen, boot_clock() + 5, reference, cast("Any", self.reply)))
            return kept(answer, wire, self.reply) if wire.inline else answer

        return event_loop.run(self._ask, pay)

    def poll(self, upstream_ids: Sequence[str]) -> Any:
        """Ask for pictures; return what the wire returned."""
        return event_loop.run(self._ask, lambda wire: wire.poll(upstream_ids))

    def listed(self) -> Any:
        """Read the provider's list to its end; return the reading, or the refusal."""
        now = datetime.now(UTC)
        return event_loop.run(self._ask, lambda wire: read(wire, lambda _rows: False, asked_at=now))

    def look(self, upstream_id: str) -> Any:
        """Ask for one row of the list by itself; return what the wire returned."""
        return event_loop.run(self._ask, lambda wire: wire.look(upstream_id))

    def account(self) -> Any:
        """Ask about the account; return what the wire returned."""
        return event_loop.run(self._ask, lambda wire: wire.account())

    def image(self, index: int) -> bytes:
        """Take one image out of the last answer."""

        async def take(wire: Any) -> bytes:
            taken = BytesIO()
            wire.extract(self.reply, index, taken)
            return taken.getvalue()

        return event_loop.run(self._ask, take)

    async def _ask(self, question: Any) -> Any:
        post = PaidPost(timeout_seconds=self._seconds, connect_seconds=1, ssl_context=_CERTIFICATES)
        get = ApiGet(timeout_seconds=self._seconds, connect_seconds=1, ssl_context=_CERTIFICATES)
        settings = WireSettings(self._base_url, self._key, post, get, self._media_without_url)
        wire: Wire = wire_for(self.provider, settings)
        try:
            return await question(wire)
        finally:
            await post.close()
            await get.close()
