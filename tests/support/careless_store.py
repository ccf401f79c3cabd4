"""A server with the words of S3 that looks at no checksum, and may state or give back something else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.support.store_server import answering


@dataclass
class CarelessStore:
    """How it is careless: which checksum it states, what it does to bytes, and whether it looks at checksums at all."""

    states: str = "the one that was sent"
    """Or `none`, or a checksum."""
    looks: bool = False
    spoils: bool = False
    objects: dict[str, bytes] = field(default_factory=dict)
    port: int = 0

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Yield its URL until the block ends."""
        store = self

        class Handler(_Handler):
            kept = store

        with answering(Handler) as url:
            yield url


class _Handler(BaseHTTPRequestHandler):
    kept: CarelessStore
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Take whatever comes; the first is that with the wrong checksum, which it may refuse after all."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent = self.headers.get("x-amz-checksum-sha256", "")
        if self.kept.looks:
            self.kept.looks = False
            self._answer(400, b"<Error><Code>BadDigest</Code></Error>")
            return
        self.kept.objects[self.path] = body
        stated = {"none": "", "the one that was sent": sent}.get(self.kept.states, self.kept.states)
        self._answer(200, b"", **({"x-amz-checksum-sha256": stated} if stated else {}))

    def do_GET(self) -> None:
        """Give it back, perhaps spoilt."""
        body = self.kept.objects[re.sub(r"\?.*", "", self.path)]
        self._answer(200, bytes(len(body)) if self.kept.spoils else body)

    def do_HEAD(self) -> None:
        """Say that it is there, and nothing of its checksum."""
        self._answer(200, b"", **{"Content-Type": "text/plain"})

    def do_DELETE(self) -> None:
        """Forget it."""
        self.kept.objects.pop(self.path, None)
        self._answer(204, b"")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
