"""A provider that answers as a test says, over HTTP: for what the simulator does not stage."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Any
"""Bytes as they are, or a value that is sent as JSON; a status before it makes a pair."""
Route = Callable[[dict[str, Any]], Answer]


@dataclass
class Stub:
    """Answers `routes`, by method and path without its query; anything else is a 404. `asked` has each request."""

    routes: dict[str, Answer]
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append(f"{method} {path}")
        found = self.routes.get(f"{method} {path.partition('?')[0]}", (404, {}))
        if callable(found):
            found = found(json.loads(body or b"{}"))
        status, value = found if isinstance(found, tuple) else (200, found)
        return status, value if isinstance(value, bytes) else json.dumps(value).encode()


@contextmanager
def provider(routes: Mapping[str, Answer]) -> Iterator[Stub]:
    """Serve `routes` until the context ends; they may be changed meanwhile."""
    stub = Stub(dict(routes))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, content = stub.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve  # noqa: N815 - the names that the base class looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
