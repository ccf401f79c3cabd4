"""The last step of a request: its reply goes over the wire, whole or damaged by its fault."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from email.utils import formatdate
from itertools import repeat

from starlette.types import Receive, Scope, Send

from ops.simulator.clock import SimulatedClock
from ops.simulator.documents import TWISTS, twisted
from ops.simulator.faults import StagedFault
from ops.simulator.gallery import HTML_PAGE
from ops.simulator.replies import SimulatedReply
from ops.simulator.transport import finish, reset, transport_of

_CHUNK = 64 * 1024
_NOT_TEXT = b"\xff\xfe\x80\x81 not text \xc3\x28"
_CUTS: dict[str, Callable[[asyncio.Transport], None]] = {
    "reply_lost": finish,
    "close_after_read": finish,
    "reset_after_read": reset,
}


class Channel:
    """One request's way back to its client.

    ``before_last_byte`` is called once, when all but the last byte of the reply has been taken by the client's kernel
    or ours and the client is still there; never if the reply ends early. ``skew`` is how many real seconds the
    provider's clock, which ``Date`` is taken from, is ahead of true time.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        clock: SimulatedClock,
        before_last_byte: Callable[[], None] | None = None,
        *,
        skew: float = 0.0,
    ) -> None:
        self._receive = receive
        self._send = send
        self._clock = clock
        self._skew = skew
        self._transport = transport_of(scope)
        self._before_last_byte = before_last_byte

    async def deliver(self, reply: SimulatedReply, fault: StagedFault | None) -> None:
        """Send ``reply``, or what ``fault`` makes of it; ``RuntimeError`` without a transport to cut."""
        if fault is None:
            await self._whole(reply)
        elif fault.kind in _CUTS:
            await self._cut(_CUTS[fault.kind])
        elif fault.kind == "truncate":
            await self._truncated(reply, chunked=fault.chunked)
        elif fault.kind == "oversize":
            await self._oversize(reply, fault)
        elif fault.kind == "content_length_lies":
            await self._promising(reply, fault.size)
        elif fault.kind == "drip":
            await self._drip(reply, 1.0 if fault.seconds is None else fault.seconds)
        else:
            if fault.kind == "slow":
                await self._clock.sleep(30.0 if fault.seconds is None else fault.seconds)
            await self._whole(disguised(reply, fault))

    async def _whole(self, reply: SimulatedReply) -> None:
        if not reply.body and not self._is_gone():
            self._tell()
        await self._start(reply, len(reply.body))
        await self._body(reply.body, more=False)

    async def _truncated(self, reply: SimulatedReply, *, chunked: bool) -> None:
        await self._start(reply, None if chunked else len(reply.body) or 1)
        await self._body(reply.body[: len(reply.body) // 2], more=True)
        await self._cut(finish)

    async def _promising(self, reply: SimulatedReply, more: int) -> None:
        await self._start(reply, len(reply.body) + more)
        await self._body(reply.body, more=True)
        await self._cut(finish)

    async def _oversize(self, reply: SimulatedReply, fault: StagedFault) -> None:
        size = fault.bytes
        await self._start(reply, size if fault.content_length else None)
        chunk = reply.body[:64].ljust(_CHUNK, b"\0")
        for _ in repeat(None) if size is None else repeat(None, size // _CHUNK):
            if not await self._body(chunk, more=True):
                return
        await self._body(chunk[: (size or 0) % _CHUNK], more=False)

    async def _drip(self, reply: SimulatedReply, seconds: float) -> None:
        await self._start(reply, len(reply.body))
        async for byte in self._slowly(reply.body[:-1], seconds):
            if not await self._body(byte, more=True):
                return
        await self._body(reply.body[-1:], more=False)

    async def _slowly(self, body: bytes, seconds: float) -> AsyncIterator[bytes]:
        for at in range(len(body)):
            yield body[at : at + 1]
            await self._clock.sleep(seconds)

    async def _start(self, reply: SimulatedReply, length: int | None) -> None:
        date = formatdate(self._clock.now() + self._skew, usegmt=True)
        headers = {"date": date, "content-type": reply.content_type, **reply.headers}
        if length is not None:
            headers["content-length"] = str(length)
        encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": reply.status, "headers": encoded})

    async def _body(self, body: bytes, *, more: bool) -> bool:
        """Send a piece; return false once the client has gone: uvicorn would swallow the rest for ever."""
        if self._is_gone():
            return False
        if self._before_last_byte is not None and not more:
            return await self._last(body)
        await self._piece(body, more=more)
        return True

    async def _last(self, body: bytes) -> bool:
        await self._piece(body[:-1], more=True)
        await self._drain()
        if self._is_gone():
            return False
        # Nothing is awaited between these two: who has read the reply to its end finds what it caused.
        self._tell()
        await self._piece(body[-1:], more=False)
        return True

    async def _drain(self) -> None:
        """Wait until the kernel has taken everything: uvicorn pauses a sender above the buffer's limit."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)
            await self._piece(b"", more=True)
            self._transport.set_write_buffer_limits()

    async def _piece(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def _is_gone(self) -> bool:
        return self._transport is not None and self._transport.is_closing()

    def _tell(self) -> None:
        told, self._before_last_byte = self._before_last_byte, None
        if told is not None:
            told()

    async def _cut(self, how: Callable[[asyncio.Transport], None]) -> None:
        if self._transport is None:
            raise RuntimeError("faults that cut a connection need the simulator's own server")
        how(self._transport)
        # Returning earlier would let uvicorn answer 500 for an application that said nothing.
        while (await self._receive())["type"] != "http.disconnect":
            pass


def disguised(reply: SimulatedReply, fault: StagedFault) -> SimulatedReply:
    """Return the reply with another body or status, as the fault says."""
    if fault.kind == "redirect_to":
        return SimulatedReply(fault.status, headers={"location": fault.url or ""}, content_type="text/plain")
    if fault.kind == "wrong_content":
        body = HTML_PAGE if "html" in fault.content_type else b'{"message":"upstream is busy"}'
        return SimulatedReply(200, body, fault.content_type)
    if fault.kind == "gateway_page":
        return SimulatedReply(fault.status, HTML_PAGE, "text/html")
    if fault.kind == "wrong_status":
        return replace(reply, status=fault.status)
    if fault.kind in TWISTS:
        return replace(reply, body=twisted(reply.body, fault))
    bodies = {"html_body": HTML_PAGE, "empty_body": b"", "not_utf8": _NOT_TEXT}
    return replace(reply, body=bodies[fault.kind]) if fault.kind in bodies else reply
