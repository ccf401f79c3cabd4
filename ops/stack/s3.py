"""The S3 server's process: the emulator behind a guard that lets nothing but S3 requests with our key pass.

The emulator (ministack) has routes that ask for no credentials, one of which deletes every object; it takes
well-known test keys; and it answers a PUT that found the disk full with success. The guard closes all three.
It serves on 127.0.0.1, or to a private network of containers if S3_LISTEN and S3_NAME say so, and is for one person's
machine, never for production.
"""

import importlib
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

GUARD = b"genqueue-s3"
HOSTS = frozenset({"127.0.0.1", "localhost"})
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
# First segments of paths that the emulator keeps for other things, although they could name a bucket.
RESERVED = frozenset(
    {
        *("clitoken", "environments", "graphql", "health", "iceberg", "key-value-stores", "login", "logout"),
        *("metrics", "oauth2", "restapi", "restapis", "saml", "saml2", "v20180820", "webtoken"),
    }
)
SCOPE = re.compile(r"(?:AWS4-HMAC-SHA256 )?(?:Credential=)?([^/\s,]+)/\d{8}/[^/]+/s3/aws4_request")
KEEP_FREE_BYTES = 64 * 1024 * 1024
KEEP_ALIVE_SECONDS = 75


class KeyGuard:
    """An ASGI application in front of another: S3 requests with one access key pass, all else is refused.

    The key must be secret: the emulator does not check the signature made with its own first key. Refusals
    are S3 error documents: 403 AccessDenied, or 507 InsufficientStorage when a PUT would leave less than
    64 MB on the disk of ``data``.
    """

    def __init__(self, app: App, access_key: str, data: Path, names: frozenset[str] = HOSTS) -> None:
        self._app = app
        self._access_key = access_key
        self._data = data
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if reason := self._not_allowed(scope, headers):
            await _refuse(scope, send, HTTPStatus.FORBIDDEN, "AccessDenied", reason)
        elif scope["method"] in {"PUT", "POST"} and self._full(headers):
            reason = "the disk that holds this bucket is nearly full"
            await _refuse(scope, send, HTTPStatus.INSUFFICIENT_STORAGE, "InsufficientStorage", reason)
        else:
            await self._app(scope, receive, send)

    def _not_allowed(self, scope: Scope, headers: Mapping[str, str]) -> str | None:
        # Other names would reach what the emulator serves by host name, and web pages by DNS rebinding.
        if headers.get("host", "").partition(":")[0] not in self._names:
            return f"address this server as {min(self._names)}"
        bucket = scope["path"].lstrip("/").partition("/")[0]
        if bucket and (not BUCKET.match(bucket) or bucket in RESERVED or scope["path"].startswith("//")):
            return "not the path of a bucket"
        if "x-amz-target" in headers:
            return "only S3 is served here"
        query = parse_qs(scope["query_string"].decode("latin-1"))
        claimed = headers.get("authorization") or (query.get("X-Amz-Credential") or [""])[0]
        credential = SCOPE.match(claimed)
        if credential is None or credential[1] != self._access_key:
            return "sign the request with this home's access key"
        return None

    def _full(self, headers: Mapping[str, str]) -> bool:
        length = headers.get("content-length", "0")
        coming = int(length) if length.isdigit() else 0
        return shutil.disk_usage(self._data).free < coming + KEEP_FREE_BYTES


async def _refuse(scope: Scope, send: Send, status: HTTPStatus, code: str, reason: str) -> None:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{reason}</Message></Error>'
    headers = [(b"content-type", b"application/xml"), (b"server", GUARD), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    content = b"" if scope["method"] == "HEAD" else body.encode()
    await send({"type": "http.response.body", "body": content})


def main() -> None:
    """Serve until SIGTERM, configured by the emulator's own environment variables."""
    import uvicorn  # noqa: PLC0415 - the KeyGuard is importable without the server

    emulator: App = importlib.import_module("ministack.app").app
    environment = os.environ
    names = HOSTS | set(filter(None, [environment.get("S3_NAME")]))
    guard = KeyGuard(emulator, environment["AWS_ACCESS_KEY_ID"], Path(environment["S3_DATA_DIR"]), names)
    uvicorn.run(
        guard,
        host=environment.get("S3_LISTEN", "127.0.0.1"),
        port=int(environment["GATEWAY_PORT"]),
        # The emulator's start-up would sweep Docker containers, run scripts and listen on every address.
        lifespan="off",
        # Access logs would hold signed URLs.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
