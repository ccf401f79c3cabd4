"""A server of raw bytes: does to each connection exactly what a test scripts, and keeps what it received."""

import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
from anyio.streams.tls import TLSListener


@dataclass
class Peer:
    """One accepted connection, read and answered as raw bytes."""

    stream: anyio.abc.SocketStream
    received: bytes = b""

    async def read_request(self, share: float = 1.0) -> None:
        """Read the whole request, or a share of its body."""
        while b"\r\n\r\n" not in self.received:
            self.received += await self.stream.receive()
        head, _, _ = self.received.partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        length = int(lengths[0]) if lengths else 0
        while len(self.received) < len(head) + 4 + length * share:
            self.received += await self.stream.receive(64)

    async def answer(self, text: bytes) -> None:
        await self.read_request()
        await self.stream.send(text)

    def reset_on_close(self) -> None:
        raw = self.stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - anyio's, no SQL here
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Server:
    port: int
    peers: list[Peer] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/pay"

    @property
    def requests(self) -> int:
        return sum(peer.received.count(b" HTTP/1.1\r\n") for peer in self.peers)


@contextlib.asynccontextmanager
async def serving(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Server(listener.extra(anyio.abc.SocketAttribute.local_port))  # noqa: S610 - anyio's, no SQL here
    if context:
        listener = TLSListener(listener, context, standard_compatible=False, handshake_timeout=5)

    async def handle(stream: anyio.abc.SocketStream) -> None:
        peer = Peer(stream)
        server.peers.append(peer)
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await script(peer)

    accepting = anyio.CancelScope()

    async def accept() -> None:
        with accepting:
            await listener.serve(handle, group)

    async with listener, anyio.create_task_group() as group:
        group.start_soon(accept)
        yield server
        # A connection whose handler never began would never be closed.
        accepting.cancel()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


def http(status: str, body: bytes, *extra: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *extra]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
