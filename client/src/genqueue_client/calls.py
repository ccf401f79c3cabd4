"""Requests as data, and what their answers mean; shared by both clients, and free of any network."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union
from urllib.parse import quote

import httpx

from genqueue_client.errors import api_error
from genqueue_client.tries import LONGEST_WAIT

Reference = Union[str, bytes, "os.PathLike[str]"]
"""A reference image: a URL or provider's id, the bytes of an image, or a path."""
Rows = Iterable[Mapping[str, Any]]
Progress = Callable[[int, int], object]
"""Told of an upload: the bytes that have gone, and all of them."""
PIECE = 64 * 1024
_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}
_TYPES = {
    ".csv": "text/csv",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".txt": "text/plain",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True)
class Call:
    """One request. Every one of them may be sent again: ids make orders safe, and the rest changes nothing twice."""

    method: str
    path: str
    params: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    """Seconds that the API may take besides the usual."""


def authorization(token: str | None) -> dict[str, str]:
    """Return the header that each request of a client carries."""
    return {"authorization": f"Bearer {token}"} if token else {}


def arguments(call: Call, content: Any, timeout: float, *, follow: bool) -> dict[str, Any]:
    """Return what `httpx` is given to send a call; `content` is the body of an upload."""
    return {
        "method": call.method,
        "url": call.path,
        "params": call.params,
        "json": call.json,
        "content": content,
        "headers": call.headers,
        "follow_redirects": follow,
        "timeout": timeout + call.wait,
    }


def submit(row: dict[str, Any], references: Sequence[Reference], wait: float) -> Call:
    """Return the order of one job. An order without a custom_id gets one, so that it can be sent again."""
    given = {name: value for name, value in row.items() if value is not None}
    given.setdefault("custom_id", uuid.uuid4().hex)
    if references:
        given["references"] = [reference(one) for one in references]
    return Call("POST", "/v1/jobs", json=given, headers=_prefer(wait), wait=wait)


def reference(given: Reference) -> str:
    """Return a reference as the API takes it; raises `ValueError` for bytes that are no PNG, JPEG, WebP or GIF."""
    if isinstance(given, str):
        return given
    data = given if isinstance(given, bytes) else Path(given).read_bytes()
    kind = next((kind for magic, kind in _KINDS.items() if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "webp"
    if kind is None:
        raise ValueError("a reference is a URL, or the bytes or path of a PNG, JPEG, WebP or GIF")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def job(job_id: str, wait: float = 0.0) -> Call:
    """Return the question for one job, answered once it rests or after `wait` seconds."""
    return Call("GET", f"/v1/jobs/{_quoted(job_id)}", headers=_prefer(wait), wait=wait)


def batch(name: str, wait: float = 0.0) -> Call:
    """Return the question for one batch, answered once it has settled or after `wait` seconds."""
    return Call("GET", f"/v1/batches/{_quoted(name)}", headers=_prefer(wait), wait=wait)


def cancel(job_id: str) -> Call:
    """Return the order to cancel a job."""
    return Call("POST", f"/v1/jobs/{_quoted(job_id)}:cancel")


def cancel_batch(name: str) -> Call:
    """Return the order to cancel a batch."""
    return Call("POST", f"/v1/batches/{_quoted(name)}:cancel")


def listing(path: str, cursor: str | None, **filters: str | None) -> Call:
    """Return the question for one page of a list."""
    params = {name: value for name, value in {**filters, "cursor": cursor}.items() if value is not None}
    return Call("GET", path, params={**params, "limit": "500"})


def results(name: str, after: str | None, *, links: bool) -> Call:
    """Return the question for a batch's results behind the job `after`."""
    params = {"links": "1" if links else "0"} | ({"after": after} if after else {})
    return Call("GET", f"/v1/batches/{_quoted(name)}/results", params=params)


def image(job_id: str, index: int) -> Call:
    """Return the question for the bytes of an image; its answer leads to the bucket."""
    return Call("GET", f"/v1/images/{_quoted(job_id)}/{index}")


@dataclass(frozen=True)
class Upload:
    """A prompt file or rows on their way: read anew for each try."""

    call: Call
    source: Path | bytes

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def pieces(self, progress: Progress | None = None) -> Iterator[bytes]:
        """Yield it from the beginning; tell `progress` of each piece that has gone."""
        sent, size = 0, self.size
        for piece in self._read():
            yield piece
            sent += len(piece)
            if progress is not None:
                progress(sent, size)

    def _read(self) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            yield from (self.source[at : at + PIECE] for at in range(0, len(self.source), PIECE))
            return
        with self.source.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


def upload(
    name: str,
    given: str | os.PathLike[str] | bytes | Rows,
    *,
    provider: str | None,
    content_type: str | None,
    columns: Mapping[str, str] | None,
) -> Upload:
    """Return the upload of a path, of a file's bytes, or of rows; raises `ValueError` for a file of unknown type.

    `columns` names the column of the file for one of ours.
    """
    source: Path | bytes
    if isinstance(given, bytes):
        source = given
    elif isinstance(given, (str, os.PathLike)):
        source = Path(given)
        content_type = content_type or _TYPES.get(source.suffix.lower())
    else:
        source = b"".join(json.dumps(dict(row), ensure_ascii=False).encode() + b"\n" for row in given)
        content_type = "application/x-ndjson"
    if content_type is None:
        raise ValueError("say the content_type: text/csv, application/x-ndjson, text/plain or a workbook's")
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    headers = {"content-type": content_type, "content-length": str(size)}
    params: dict[str, str | Sequence[str]] = {"provider": provider} if provider else {}
    if columns:
        params["column"] = [f"{ours}={theirs}" for ours, theirs in columns.items()]
    return Upload(Call("POST", f"/v1/batches/{_quoted(name)}/rows", params, None, headers, 900.0), source)


def read(response: httpx.Response) -> dict[str, Any]:
    """Return an answer's document; raises `ApiError` for what is no success."""
    check(response)
    found: dict[str, Any] = response.json()
    return found


def check(response: httpx.Response) -> None:
    """Raise `ApiError` for what is no success; the body must have been read."""
    if response.is_success:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    raise api_error(response.status_code, problem if isinstance(problem, dict) else {})


def _prefer(wait: float) -> dict[str, str]:
    return {"prefer": f"wait={max(1, round(min(wait, LONGEST_WAIT)))}"} if wait > 0 else {}


def _quoted(name: str) -> str:
    return quote(name, safe="")


class Results:
    """Puts the lines of a results stream together by job, so that a stream that broke is resumed at a whole job.

    Only a line feed ends a line: text of a row may have what Unicode calls a line's end.
    """

    def __init__(self) -> None:
        self.after: str | None = None
        """The last job of which every line was given out."""
        self._held: list[dict[str, Any]] = []
        self._part = b""
        """The beginning of a line whose end has not come."""

    def take(self, piece: bytes) -> list[dict[str, Any]]:
        """Add a piece of the stream; return the lines of the jobs that are whole, because another one began."""
        *lines, self._part = (self._part + piece).split(b"\n")
        return [row for line in lines if line.strip() for row in self._take(json.loads(line))]

    def _take(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        done = self._let_go() if self._held and self._held[0]["job_id"] != row["job_id"] else []
        self._held.append(row)
        return done

    def rest(self) -> list[dict[str, Any]]:
        """Return the lines of the last job: the stream is whole."""
        return self.take(b"\n") + self._let_go()

    def _let_go(self) -> list[dict[str, Any]]:
        done, self._held = self._held, []
        if done:
            self.after = str(done[0]["job_id"])
        return done

    def broke(self) -> None:
        """Forget the lines of a job that may lack some."""
        self._held, self._part = [], b""
