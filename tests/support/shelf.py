"""A host of results: serves the bytes that a test puts on it, and counts how often each was fetched."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count


class Shelf:
    """`put` answers a link to bytes; of several, each fetch takes the next, and the last one stays; None is a 404."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._names = count()
        self._bodies: dict[str, list[bytes | None]] = {}
        self._types: dict[str, str] = {}
        self.fetched: Counter[str] = Counter()

    def put(self, *bodies: bytes | None, content_type: str = "image/png") -> str:
        path = f"/{next(self._names)}"
        self.change(path, bodies)
        self._types[path] = content_type
        return f"http://127.0.0.1:{self._port}{path}"

    def change(self, link: str, bodies: Sequence[bytes | None]) -> None:
        self._bodies["/" + link.rpartition("/")[2]] = list(bodies)

    def fetches(self, link: str) -> int:
        return self.fetched["/" + link.rpartition("/")[2]]

    def take(self, path: str) -> tuple[bytes, str] | None:
        bodies = self._bodies.get(path)
        self.fetched[path] += 1
        body = None if not bodies else bodies.pop(0) if len(bodies) > 1 else bodies[0]
        return None if body is None else (body, self._types[path])


@contextmanager
def serving_shelf() -> Iterator[Shelf]:
    """Serve a shelf on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = shelf.take(self.path)
            body, content_type = found or (b"gone", "text/plain")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        shelf = Shelf(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield shelf
        finally:
            server.shutdown()
            thread.join()
