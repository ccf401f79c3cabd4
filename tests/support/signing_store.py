"""A store that takes a PUT only if its signed URL is right, as AWS's documents say it is computed (SigV4, query)."""

import hashlib
import hmac
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, quote, urlsplit

from tests.support.store_server import answering

Answer = tuple[int, str]
"""A status, and a code in the body; an empty code is no body."""


@dataclass
class SigningStore:
    """Keeps objects; `answers` are given first, one for each PUT, whatever it brings; `refuses` says of which URLs."""

    secret: str
    answers: list[Answer] = field(default_factory=list)
    takes_signed_urls: bool = True
    looks: bool = True
    states: str | None = None
    hangs: float = 0.0
    hangs_on_delete: float = 0.0
    puts: list[str] = field(default_factory=list)
    """How each PUT was signed: `url` or `header`."""
    objects: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Yield its URL until the block ends."""
        store = self

        class Handler(_Handler):
            kept = store

        with answering(Handler) as url:
            yield url

    def judged(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Return the answer to one PUT."""
        is_url = "X-Amz-Signature=" in path
        self.puts.append("url" if is_url else "header")
        if self.answers:
            return self.answers.pop(0)
        if is_url and not (self.takes_signed_urls and signature(path, headers, self.secret) in path):
            return 403, "SignatureDoesNotMatch" if self.takes_signed_urls else "AccessDenied"
        if self.looks and b64encode(hashlib.sha256(body).digest()).decode() != headers["x-amz-checksum-sha256"]:
            return 400, "BadDigest"
        self.objects[urlsplit(path).path] = (body, headers)
        return 200, ""


def signature(path: str, headers: dict[str, str], secret: str) -> str:
    """Return what a signed URL must state, computed anew from what arrived.

    Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
    """
    parts = urlsplit(path)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "X-Amz-Signature"]
    given = dict(query)
    names = given["X-Amz-SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            "PUT",
            parts.path,
            "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query)),
            *(f"{name}:{headers[name].strip()}" for name in names),
            "",
            ";".join(names),
            "UNSIGNED-PAYLOAD",
        ]
    )
    _key_id, day, region, service, end = given["X-Amz-Credential"].split("/")
    scope, hashed = f"{day}/{region}/{service}/{end}", hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, end):
        key = _mac(key, part)
    return _mac(key, f"AWS4-HMAC-SHA256\n{given['X-Amz-Date']}\n{scope}\n{hashed}").hex()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class _Handler(BaseHTTPRequestHandler):
    kept: SigningStore
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        time.sleep(self.kept.hangs)
        status, code = self.kept.judged(self.path, headers, body)
        answer = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
        self.send_response(status)
        if status == 200:
            self.send_header("x-amz-checksum-sha256", self.kept.states or headers["x-amz-checksum-sha256"])
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_DELETE(self) -> None:
        time.sleep(self.kept.hangs_on_delete)
        self.kept.objects.pop(self.path, None)
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
