"""A batch to take away: its results as CSV, and its pictures as a zip file. Both are made while they are sent."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ops.dashboard.page import Dashboard, needs, of
from ops.dashboard.sessions import Right
from ops.downloading import file_name
from producer.cli.results import FREE_TEXT, harmless
from producer.results import COLUMNS, as_json
from shared.db.read.pages import Row

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


@needs(Right.PICTURES)
def results_csv(request: Request) -> Response:
    """Return one line for each image of a batch."""
    dashboard, name = of(request), _batch(request)
    return StreamingResponse(
        _lines(dashboard, name), media_type="text/csv; charset=utf-8", headers=_attached(name, "csv")
    )


@needs(Right.PICTURES)
def pictures_zip(request: Request) -> Response:
    """Return every stored image of a batch, under the names that `genqueue download` gives them."""
    dashboard, name = of(request), _batch(request)
    if dashboard.storage is None:
        raise HTTPException(404, "this dashboard has no bucket")
    return StreamingResponse(_zipped(dashboard, name), media_type="application/zip", headers=_attached(name, "zip"))


def _batch(request: Request) -> str:
    name = request.query_params.get("name", "").replace("\0", "")
    if of(request).reads.batch(name) is None:
        raise HTTPException(404, "there is no such batch")
    return name


def _attached(name: str, extension: str) -> dict[str, str]:
    safe = _UNSAFE.sub("_", name)[:80].strip(".") or "batch"
    return {"Content-Disposition": f'attachment; filename="{safe}.{extension}"'}


def _lines(dashboard: Dashboard, name: str) -> Iterator[str]:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in dashboard.reads.results(name):
        writer.writerow(_cell(column, row[column]) for column in COLUMNS)
        yield file.getvalue()
        file.seek(0)
        file.truncate()
    yield file.getvalue()


def _cell(column: str, value: Any) -> Any:
    if value is None:
        return ""
    return harmless(str(value)) if column in FREE_TEXT else as_json(value)


class _Sink(io.RawIOBase):
    """Collects what the zip file writes until it is sent."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _zipped(dashboard: Dashboard, name: str) -> Iterator[bytes]:
    assert dashboard.storage is not None
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for row in dashboard.reads.results(name):
            if row["key"]:
                yield from _member(dashboard, archive, sink, row)
    yield sink.taken()


def _member(dashboard: Dashboard, archive: zipfile.ZipFile, sink: _Sink, row: Row) -> Iterator[bytes]:
    """Yield one image, a part at a time; it is compressed already."""
    assert dashboard.storage is not None
    with (
        closing(dashboard.storage.open(row["key"])) as stream,
        archive.open(zipfile.ZipInfo(file_name(row)), "w", force_zip64=True) as member,
    ):
        while block := stream.read(256 * 1024):
            member.write(block)
            yield sink.taken()
    yield sink.taken()
