"""Whole batches: rows in as one raw body, counts, and results out as one stream."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import chain, islice
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from producer.api.access import Caller, needs
from producer.api.bodies import uploaded
from producer.api.cursors import cursor, position
from producer.api.jobs import batch_name, link_of
from producer.api.paths import NAME
from producer.api.problems import ProblemError
from producer.api.reference import ROWS_BODY
from producer.api.shown import (
    LINK_SECONDS,
    Added,
    BatchesShown,
    BatchLine,
    BatchShown,
    Link,
    answer,
    batch_path,
    batch_shown,
)
from producer.api.uploads import Upload, add, in_turn, plan
from producer.api.waiting import WAIT, applied, matches, until
from producer.json_lines import json_line
from producer.prompts import ColumnNameError, parse_columns
from producer.results import COLUMNS, as_json
from shared.db.read.pages import BatchCursor
from shared.tokens import Scope

router = APIRouter(tags=["batches"])
_LINES: Final = 200


@router.post(
    "/v1/batches/{name}/rows",
    status_code=201,
    responses={
        200: {"model": Added | dict[str, Any], "description": "Nothing was new, or a plan"},
        201: {"model": Added},
    },
    openapi_extra=ROWS_BODY,
)
async def add_rows(
    request: Request,
    caller: Annotated[Caller, needs(Scope.JOBS_WRITE)],
    name: str,
    *,
    provider: Annotated[str | None, Query(max_length=40, description="provider of rows that name none")] = None,
    column: Annotated[
        list[str], Query(max_length=40, description="`OURS=THEIRS`: a column of yours that is one of ours; repeatable")
    ] = [],  # noqa: B006 - the framework copies it
    dry_run: Annotated[bool, Query(description="true: add nothing; say what it would add, cost and take")] = False,
) -> Response:
    """Add a prompt file to a batch: all of its rows, or none. The same file again adds only what is new.

    Every row needs a `custom_id`, or sending the file again would add other jobs if a line moved. The whole file is
    checked before a row is added; each fault is named with its line.
    """
    batch = batch_name(caller, name)
    columns = _columns(column)
    async with uploaded(request) as (file, file_format):
        upload = Upload(file, file_format, batch, provider, caller.token, columns)
        if dry_run:
            return JSONResponse(await in_turn(request, caller.client, upload, plan))
        added = await in_turn(request, caller.client, upload, add)
    document = Added(batch=batch, given=added.given, added=added.added)
    return answer(document, 201 if added.added else 200, {"Location": batch_path(batch)})


def _columns(pairs: list[str]) -> dict[str, str]:
    try:
        return parse_columns(pairs)
    except ColumnNameError as error:
        raise ProblemError("request_invalid", f"column: {error}") from None


@router.get("/v1/batches", responses={200: {"model": BatchesShown}})
def list_batches(
    caller: Annotated[Caller, needs(Scope.JOBS_READ)],
    after: Annotated[str | None, Query(alias="cursor", max_length=500, description="`next_cursor` of a page")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """List the batches that the token may touch, oldest first."""
    prefix = caller.token.batch_prefix
    behind = BatchCursor(*position(after, {"prefix": prefix}, datetime.fromisoformat, UUID)) if after else None
    # A cursor names the last of these rows: it must be one that the token may see.
    rows = caller.client.batch_page(prefix=prefix, after=behind, limit=limit)
    last = rows[-1] if len(rows) == limit else None
    items = [BatchLine(**{field: row[field] for field in BatchLine.model_fields}) for row in rows]
    following = cursor({"prefix": prefix}, last["created_at"].isoformat(), str(last["id"])) if last else None
    return answer(BatchesShown(items=items, next_cursor=following))


@router.get(
    f"/v1/batches/{{name:{NAME}}}",
    responses={200: {"model": BatchShown}, 304: {"description": "Nothing has changed since `If-None-Match`"}},
)
async def get_batch(
    request: Request,
    caller: Annotated[Caller, needs(Scope.JOBS_READ)],
    name: str,
    seconds: Annotated[int, WAIT],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return a batch with its jobs counted by state.

    `Prefer: wait=30` answers once the batch has settled; with `If-None-Match`, once a count has changed.
    """
    batch = batch_name(caller, name)
    look = partial(looked_at, caller, batch)
    document = await until(request, seconds, look, partial(_is_news, if_none_match))
    headers = {"ETag": _etag(document), **applied(seconds)}
    if matches(if_none_match, headers["ETag"]):
        return Response(None, 304, headers)
    return answer(document, headers=headers)


def looked_at(caller: Caller, batch: str) -> BatchShown:
    """Return a batch as it is now; raises `NoSuchBatchError`."""
    return batch_shown(caller.client.batch(batch))


def _is_news(if_none_match: str | None, document: BatchShown) -> bool:
    return not matches(if_none_match, _etag(document)) if if_none_match else document.settled


def _etag(document: BatchShown) -> str:
    return f'"{hashlib.sha256(document.model_dump_json().encode()).hexdigest()[:16]}"'


@router.get(
    "/v1/batches/{name}/results",
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
def get_results(
    caller: Annotated[Caller, needs(Scope.RESULTS_READ)],
    name: str,
    after: Annotated[UUID | None, Query(description="begin behind this job; resumes a stream that broke")] = None,
    links: Annotated[Literal["0", "1"], Query(description="1 adds `url`, which reads the image for an hour")] = "0",
) -> Response:
    """Stream one JSON line for each image asked for, stored or not, in the order the jobs were added.

    To resume, give the last `job_id` of which all images arrived as `after`.
    """
    rows = caller.client.results(batch_name(caller, name), after=after)
    first = list(islice(rows, 1))  # what is wrong shows here, before the answer begins
    lines = _lines(chain(first, rows), link_of(caller) if links == "1" else None)
    return StreamingResponse(lines, media_type="application/x-ndjson")


def _lines(rows: Iterator[dict[str, Any]], link: Link | None) -> Iterator[str]:
    """Yield some hundred lines at a time: each piece goes through a thread."""
    piece: list[str] = []
    for row in rows:
        shown = {column: as_json(row[column]) for column in COLUMNS} | {"metadata": row["metadata"]}
        if link is not None:
            shown["url"] = link(row["key"], LINK_SECONDS) if row["key"] else None
        piece.append(json_line(shown))
        if len(piece) == _LINES:
            yield "".join(piece)
            piece = []
    yield "".join(piece)
