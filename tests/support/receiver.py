"""A receiver of webhooks that answers as a test says, and remembers what it got."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

Headers = dict[str, str]


@dataclass(frozen=True)
class Message:
    """One POST as it came."""

    path: str
    headers: Headers
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """Return the event; raises if the public library does not accept its signature."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


@dataclass
class Receiver:
    """Answers each POST with `answer(message)`: a status, or that and headers; nothing on `ConnectionResetError`."""

    url: str = ""
    says: bytes = b""
    """The body of each answer."""
    answer: Callable[[Message], int | tuple[int, Headers]] = lambda _message: 204
    got: list[Message] = field(default_factory=list)

    def ids(self) -> set[str]:
        return {message.id for message in self.got}


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Serve until the context ends."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            message = Message(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            made.got.append(message)
            try:
                found = made.answer(message)
            except ConnectionResetError:  # as one that dies at this moment
                self.close_connection = True
                return
            status, headers = found if isinstance(found, tuple) else (found, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(made.says)))
            self.end_headers()
            self.wfile.write(made.says)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
