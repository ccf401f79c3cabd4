"""A server's TLS side, with a certificate of an authority that nobody knows: in front of one that speaks none."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.tcp_proxy import Behind, connect

_CHUNK = 64 * 1024


@dataclass(frozen=True)
class TlsFront:
    """Where it listens on 127.0.0.1, and the file with the certificate of its authority."""

    port: int
    ca_file: Path


@contextlib.contextmanager
def tls_front(directory: Path, behind: Behind) -> Iterator[TlsFront]:
    """Pass on what comes, decrypted, to the server `behind` of this machine, until the block ends."""
    ca_file, certificate = _certificates(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, directory / "server.key")
    loop = asyncio.new_event_loop()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await connect(behind)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # at the end, and nobody waits for this
                await asyncio.gather(_carry(reader, inner_writer), _carry(inner_reader, writer))
        finally:
            writer.transport.abort()
            inner_writer.transport.abort()

    server = loop.run_until_complete(asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield TlsFront(server.sockets[0].getsockname()[1], ca_file)
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(10):  # a transport that is aborted closes its socket some turns of the loop later
        await asyncio.sleep(0)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


def _certificates(directory: Path) -> tuple[Path, Path]:
    """Make an authority, and a certificate of it for 127.0.0.1."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    ca, server = directory / "ca.pem", directory / "server.pem"
    _run([*new, "-subj", "/CN=a private authority", "-keyout", str(directory / "ca.key"), "-out", str(ca)])
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
    signed = ["-CA", str(ca), "-CAkey", str(directory / "ca.key")]
    _run([*new, *names, *signed, "-keyout", str(directory / "server.key"), "-out", str(server)])
    return ca, server


def _run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True)
