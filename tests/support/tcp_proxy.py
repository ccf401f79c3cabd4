"""A TCP proxy to break: passes bytes on, and cuts, stalls, slows or answers what passes, as another thread asks."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

_ABORT_WITH_RST = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds
_CHUNK = 64 * 1024
_LAST_WORDS_SECONDS = 1.0
_STARTS_WITHIN = 10.0


Behind = int | Path
"""A server of this machine: its port on 127.0.0.1, or its Unix socket."""


def redis_socket(broker_url: str) -> Path:
    """Return the socket that a stack's broker URL names."""
    return Path(unquote(urlsplit(broker_url).path))


async def connect(behind: Behind) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to a server of this machine."""
    if isinstance(behind, Path):
        return await asyncio.open_unix_connection(behind)
    return await asyncio.open_connection("127.0.0.1", behind)


@dataclass(eq=False)
class _Link:
    """One connection through the proxy: its client's side and its server's."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]

    def reset(self) -> None:
        for writer in self.writers:
            with contextlib.suppress(OSError):
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT_WITH_RST)
            writer.transport.abort()


@dataclass(eq=False)
class TcpProxy:
    """Stands before `behind` on this machine. What is asked of it holds at once, for open connections too."""

    behind: Behind
    delay_seconds: float = 0.0
    """How long each piece from a client is held back."""
    refusal: bytes = b""
    """What a client is answered in the server's place, where it is not empty."""
    carried: int = 0
    """Connections so far."""
    _links: set[_Link] = field(default_factory=set)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _address: tuple[str, int] = ("127.0.0.1", 0)

    @property
    def port(self) -> int:
        """Where clients connect, on 127.0.0.1."""
        return self._address[1]

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://{self._address[0]}:{self._address[1]}"

    @contextlib.contextmanager
    def serve(self) -> Iterator[Self]:
        """Run in a thread until the block ends."""
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), name="proxy", daemon=True)
        thread.start()
        assert ready.wait(_STARTS_WITHIN), "the proxy did not start"
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._ended.set)
            thread.join()

    def cut(self) -> int:
        """Reset every open connection on both sides; return how many there were."""
        links = list(self._links)
        for link in links:
            self._loop.call_soon_threadsafe(link.reset)
        return len(links)

    def stall(self) -> None:
        """Let no byte pass in either direction; connections are taken and stay open, in silence."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Let bytes pass again, those held back first."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    async def _live(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._carry, self._address[0], 0, backlog=512)
        self._address = server.sockets[0].getsockname()[:2]
        ready.set()
        await self._ended.wait()
        server.close()
        for link in list(self._links):
            link.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.carried += 1
        # asyncio turns Nagle off only for sockets that name their protocol, and accepted ones do not.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if not await self._refused(reader, writer, b""):
                await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await connect(self.behind)
        link = _Link((writer, there[1]))
        self._links.add(link)
        try:
            await asyncio.gather(self._ask(reader, there[1], writer), self._pass(there[0], writer))
        except OSError:
            link.reset()
        finally:
            self._links.discard(link)
            for side in link.writers:
                side.close()

    async def _ask(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            if await self._refused(reader, back, chunk):
                raise ConnectionAbortedError
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            await self._write(there, chunk)
        await self._finish(there)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._write(writer, chunk)
        await self._finish(writer)

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        await self._flowing.wait()
        writer.write(chunk)
        await writer.drain()

    async def _finish(self, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    async def _refused(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunk: bytes) -> bool:
        """Answer in the server's place if that is asked, once the client has said something; then let it finish."""
        if not self.refusal or not (chunk or await reader.read(_CHUNK)):
            return False
        writer.write(self.refusal)
        await writer.drain()
        writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                while await reader.read(_CHUNK):
                    pass
        writer.close()
        return True


@contextlib.contextmanager
def behind(database_url: str) -> Iterator[str]:
    """Yield the URL of a database behind a proxy."""
    parts = urlsplit(database_url)
    with TcpProxy(parts.port or 0).serve() as proxy:
        yield database_url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{proxy.port}")
