"""A provider that answers each POST as a test says, byte for byte, and serves its pictures under any GET."""

import base64
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any


@dataclass
class Answering:
    """`answers` are given in turn, the last one again and again; `promised` more bytes are announced than are sent."""

    answers: list[bytes]
    picture: bytes = b""
    promised: int = 0
    posts: list[bytes] = field(default_factory=list)
    url: str = ""

    def answer(self) -> bytes:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def answering(*answers: bytes, picture: bytes = b"", promised: int = 0) -> Iterator[Answering]:
    """Yield a running provider."""
    state = Answering(list(answers), picture, promised)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.posts.append(self.rfile.read(int(self.headers["content-length"])))
            self._send(state.answer(), "application/json", state.promised)

        def do_GET(self) -> None:
            is_picture = self.path.startswith("/picture")
            body = state.picture if is_picture else json.dumps({"data": {"usage": 1, "balance": "9"}}).encode()
            self._send(body, "image/png" if is_picture else "application/json", 0)

        def _send(self, body: bytes, kind: str, more: int) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body) + more))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def png(seed: int, *, size: int = 64) -> bytes:
    """Return a picture of noise: three bytes for each of its `size` squared pixels."""
    row = 3 * size
    noise = Random(seed).randbytes(row * size)
    plain = b"".join(b"\0" + noise[at : at + row] for at in range(0, len(noise), row))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(plain, 0)) + _chunk(b"IEND", b"")
    )


def inline_answer(*pictures: bytes, cost: str = "0.04", extra: bytes = b"") -> bytes:
    """Return OpenRouter's answer with these pictures; `extra` are members that nobody documented."""
    items = b",".join(b'{"b64_json":"%s"}' % base64.b64encode(picture) for picture in pictures)
    return b'{"created":1,%s"data":[%s],"usage":{"cost":%s}}' % (extra, items, cost.encode())


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
