"""Problem documents (RFC 9457): every answer of 4xx or 5xx is one, with a stable code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from producer.client import AfterRestoreError, BatchBusyError, InvalidRowsError, NoSuchBatchError, NoSuchJobError
from producer.money import CapError
from producer.prompts import PromptFileError
from shared.db.engine import DatabaseUnavailableError
from shared.db.jobs.choose import NotACandidateError
from shared.db.jobs.enqueue import EnqueueConflictError
from shared.db.jobs.resolve import NotHeldError
from shared.db.schema import SchemaError
from shared.db.tokens import TokenCapError
from shared.db.webhooks.endpoints import NoSuchEndpointError
from shared.notes import counted

MEDIA_TYPE: Final = "application/problem+json"
FAULTS_SHOWN: Final = 100
_RETRY_SECONDS: Final = "5"
PROBLEMS: Final[dict[str, tuple[int, str]]] = {
    "bad_request": (400, "The request cannot be read."),
    "idempotency_key_required": (
        400,
        "A request that may buy needs a custom_id or an Idempotency-Key, so that sending it again is free.",
    ),
    "idempotency_key_differs": (400, "The body's custom_id and the Idempotency-Key are different."),
    "cursor_invalid": (400, "The cursor is not one of this list with these filters."),
    "token_missing": (401, "Send a token: Authorization: Bearer gq_..."),
    "token_invalid": (401, "The token is unknown, revoked or expired."),
    "price_unbounded": (402, "The token has a cap, and nothing bounds what these rows cost."),
    "token_cap_reached": (402, "The order does not fit under the token's cap; nothing was enqueued."),
    "scope_missing": (403, "The token does not have the scope that this needs."),
    "batch_not_allowed": (403, "The token may not touch a batch of this name."),
    "origin_not_allowed": (403, "A web page of another site may not use this API."),
    "database_role": (403, "The API's database role may not do this; an operator can."),
    "no_such_path": (404, "There is nothing at this path."),
    "no_such_job": (404, "There is no such job, or the token may not see it."),
    "no_such_batch": (404, "There is no such batch."),
    "no_such_account": (404, "There is no such account."),
    "no_such_webhook": (404, "There is no such webhook, or the token may not see it."),
    "no_such_image": (404, "The job has no such image in the bucket."),
    "method_not_allowed": (405, "The path does not take this method."),
    "webhooks_off": (409, "The API has no key for the secrets of webhooks; an operator sets it."),
    "not_held": (409, "The job is not in a state in which this can be done."),
    "confirmation_required": (409, "This may pay a second time: send `confirm` of a dry run."),
    "database_restored": (409, "The database was restored and lacks rows: an operator ends that for all accounts."),
    "changed_meanwhile": (409, "The jobs are not those that the dry run showed; look again."),
    "body_too_large": (413, "The body is larger than this path takes."),
    "media_type_unsupported": (415, "The path does not take this content type."),
    "host_not_allowed": (421, "The API is not reached under this host name; see GENQUEUE_API_HOSTS."),
    "request_invalid": (422, "A part of the request is not what the path expects."),
    "rows_invalid": (422, "Some rows are wrong; nothing was enqueued."),
    "custom_id_conflict": (422, "A custom_id already stands for another request; nothing was enqueued."),
    "not_a_candidate": (422, "A named picture cannot be what the lost call bought."),
    "cap_invalid": (422, "The cap cannot be read."),
    "head_too_large": (431, "The request's headers are too large."),
    "rate_limited": (429, "The token sends more requests than it may; wait."),
    "internal_error": (500, "The API failed; its log has the request_id."),
    "links_unavailable": (503, "No link to the image can be made now."),
    "batch_busy": (503, "A file is being added to the batch, perhaps with this row; send the same request again."),
    "not_checked_yet": (503, "A row that came by SQL waits for a worker to check it; send the same request again."),
    "upload_interrupted": (503, "The check of the file was ended from outside; send the same file again."),
    "database_unavailable": (503, "The database cannot be reached; send the same request again."),
    "schema_unusable": (503, "The database's schema does not fit this version; an operator migrates it."),
}
"""Every code: its HTTP status and its title."""


@dataclass
class ProblemError(Exception):
    """Ends a request with a problem document; `more` holds further members."""

    code: str
    detail: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_response(problem: ProblemError, request_id: str) -> Response:
    """Return the document as a response."""
    status, title = PROBLEMS[problem.code]
    document = {
        "type": f"/v1/problems/{problem.code}",
        "title": title,
        "status": status,
        "code": problem.code,
        "detail": problem.detail or title,
        "request_id": request_id,
        **problem.more,
    }
    headers = dict(problem.headers)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", _RETRY_SECONDS)
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, status, headers, MEDIA_TYPE)


def as_problem(error: Exception) -> ProblemError | None:
    """Return the problem that one of our errors is; None for a defect."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, InvalidRowsError):
        return _rows_invalid(error)
    if isinstance(error, EnqueueConflictError):
        return ProblemError("custom_id_conflict", str(error), {"custom_ids": error.custom_ids})
    if isinstance(error, TokenCapError):
        code = "price_unbounded" if error.code == "price_unknown" else error.code
        return ProblemError(code, str(error))
    return next((ProblemError(code, str(error)) for kind, code in _BY_KIND if isinstance(error, kind)), None)


_BY_KIND: Final[tuple[tuple[type[Exception], str], ...]] = (
    (PromptFileError, "request_invalid"),
    (CapError, "cap_invalid"),
    (AfterRestoreError, "database_restored"),
    (NoSuchBatchError, "no_such_batch"),
    (NoSuchJobError, "no_such_job"),
    (NotHeldError, "not_held"),
    (NotACandidateError, "not_a_candidate"),
    (BatchBusyError, "batch_busy"),
    (DatabaseUnavailableError, "database_unavailable"),
    (SchemaError, "schema_unusable"),
    (NoSuchEndpointError, "no_such_webhook"),
)
HANDLED: Final = (ProblemError, InvalidRowsError, EnqueueConflictError, TokenCapError, *(kind for kind, _ in _BY_KIND))
"""The errors that `as_problem` knows."""


def _rows_invalid(error: InvalidRowsError) -> ProblemError:
    shown = [
        {"line": fault.line, "field": fault.field, "detail": fault.message} for fault in error.faults[:FAULTS_SHOWN]
    ]
    detail = f"{counted(error.count, 'fault')}; nothing was enqueued"
    return ProblemError("rows_invalid", detail, {"count": error.count, "errors": shown})
