"""A host of images that answers each GET as a test says: any status, any header, any length announced."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import Any

from PIL import Image


def picture(color: str = "navy") -> bytes:
    """Return a small PNG."""
    file = BytesIO()
    Image.new("RGB", (32, 32), color).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `announced` is the Content-Length, None for the true one."""

    status: int = 200
    body: bytes = field(default_factory=picture)
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None
    pieces: int = 1
    """Sent a tenth of a second apart."""


@dataclass
class ImageHost:
    """Gives `answer` to every GET; `asked` has their paths, `beside` how many others ran when each began."""

    url: str
    answer: Answer
    asked: list[str] = field(default_factory=list)
    beside: list[int] = field(default_factory=list)
    running: int = 0


@contextmanager
def serving_images(answer: Answer) -> Iterator[ImageHost]:
    """Serve `answer`, or whatever a test puts in its place, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.asked.append(self.path)
            host.beside.append(host.running)
            host.running += 1
            self._answer()
            host.running -= 1

        def _answer(self) -> None:
            said = host.answer
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body) if said.announced is None else said.announced))
            self.send_header("Connection", "close")
            self.end_headers()
            size = -(-len(said.body) // said.pieces)
            with suppress(OSError):
                for start in range(0, len(said.body), max(size, 1)):
                    time.sleep(0.1 * bool(start))
                    self.wfile.write(said.body[start : start + size])
                    self.wfile.flush()
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = ImageHost(f"http://127.0.0.1:{server.server_port}", answer)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
