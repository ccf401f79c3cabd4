"""Request bodies: one JSON object, read strictly; or a prompt file, streamed to the disk."""

import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from producer.api.problems import ProblemError
from producer.prompts import Format
from producer.prompts.strict_json import RowJsonError, parse

MOST_JSON_BYTES: Final = 16 * 2**20
"""Bytes of one JSON body: a job whose references lie inside it as data."""
MOST_UPLOAD_BYTES: Final = 256 * 2**20
"""Bytes of an uploaded prompt file: some million rows."""
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_BUFFER_BYTES: Final = 2**20
_AT_ONCE_BYTES: Final = 16 * 2**10
_Result = TypeVar("_Result")
_FORMATS: Final[dict[str, Format]] = {
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "text/plain": "txt",
    XLSX: "xlsx",
}


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body as one JSON object; raises `ProblemError`."""
    if _media_type(request) not in {"application/json", ""}:
        raise ProblemError("media_type_unsupported", "send application/json")
    found = await _json(request, await _whole(request))
    if not isinstance(found, dict):
        raise ProblemError("bad_request", "the body is not a JSON object")
    return found


async def _whole(request: Request) -> bytearray:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_JSON_BYTES:
            raise ProblemError("body_too_large", f"at most {MOST_JSON_BYTES:,} bytes")
    return body


async def _json(request: Request, body: bytes | bytearray) -> Any:
    try:
        return await off_loop(request, partial(_parsed, body))
    except UnicodeDecodeError:
        raise ProblemError("bad_request", "the body is not UTF-8") from None
    except RowJsonError as error:
        raise ProblemError("bad_request", f"the body {error}") from None


class _StrictRequest(Request):
    """A request whose JSON is bounded and read as strictly as that of a job: no key twice, no NaN."""

    async def body(self) -> bytes:
        """Return the body; raises `ProblemError` if it is too large."""
        if not hasattr(self, "_body"):
            self._body = bytes(await _whole(self))
        return self._body

    async def json(self) -> Any:
        """Return the body as JSON; raises `ProblemError`."""
        if not hasattr(self, "_json"):
            self._json = await _json(self, await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route whose body is read strictly before the framework has a look at it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = _StrictRequest(request.scope, request.receive)
            if _media_type(request).endswith("json") and await strict.body():
                await strict.json()  # the framework words every error alike, and says no reason
            return await answer(strict)

        return handle


def _parsed(body: bytes | bytearray) -> Any:
    return parse(body.decode("utf-8")) if body.strip() else {}


async def off_loop(request: Request, work: Callable[[], _Result]) -> _Result:
    """Do work on a body: in a thread if it is large, or every other request would wait for it.

    A small one is done at once: going to a thread and back costs more than the work.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) <= _AT_ONCE_BYTES:
        return work()
    return await run_in_threadpool(work)


JSON_OBJECT: Final[Any] = Depends(json_object)
"""A dependency: the request's body as one JSON object; an empty body is an empty object."""


@asynccontextmanager
async def uploaded(request: Request) -> AsyncIterator[tuple[Path, Format]]:
    """Stream the body to a file of this process alone, and yield it with its format; it is deleted at the end."""
    file_format = _FORMATS.get(_media_type(request))
    if file_format is None:
        raise ProblemError("media_type_unsupported", f"send {', '.join(_FORMATS)}")
    with tempfile.NamedTemporaryFile(prefix="genqueue-upload-", buffering=_BUFFER_BYTES) as file:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > MOST_UPLOAD_BYTES:
                raise ProblemError("body_too_large", f"at most {MOST_UPLOAD_BYTES:,} bytes; send it in parts")
            file.write(part)
        file.flush()
        yield Path(file.name), file_format


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
