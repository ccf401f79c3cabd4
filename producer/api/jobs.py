"""Single jobs: one POST for one job, safe to send again, and its state."""

from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from producer.api.access import Caller, needs, sees_sums
from producer.api.bodies import JSON_OBJECT, off_loop
from producer.api.cursors import cursor, position
from producer.api.direct import MOST_KEY, DirectRoute
from producer.api.orders import Orders
from producer.api.paths import NAME
from producer.api.problems import ProblemError
from producer.api.reference import JOB_BODY
from producer.api.shown import RESTING, JobLine, JobShown, JobsShown, Link, answer, job_shown
from producer.api.waiting import WAIT, applied, matches, until
from producer.client import Order, checked
from producer.story import story_document
from shared.db.read.job import JobFacts, JobMark
from shared.lifecycle import JobState
from shared.prompt_rows.ids import BATCH_MAX_CHARS
from shared.tokens import Scope

router = APIRouter(tags=["jobs"])
MOST_NAME: Final = BATCH_MAX_CHARS
STATES: Final = (*map(str, JobState), "on_hold", "checking")
"""The states of a job as they are shown."""


async def add_job(
    request: Request,
    caller: Annotated[Caller, needs(Scope.JOBS_WRITE)],
    body: Annotated[dict[str, Any], JSON_OBJECT],
    seconds: Annotated[int, WAIT],
    idempotency_key: Annotated[str | None, Header(max_length=MOST_KEY)] = None,
) -> Response:
    """Add one job. The same request again answers with the same job and buys nothing.

    The body has the columns of a prompt file, and `batch`. It needs a `custom_id`, or an `Idempotency-Key` header,
    which becomes the `custom_id`: the key lives as long as the job. A job without a batch goes to the token's own.

    `Prefer: wait=20` answers once the job has ended or is held, or after 20 seconds, with the job as it is then.
    """
    row = dict(body)
    named = row.pop("batch", None)
    batch = batch_name(caller, caller.own_batch if named is None else named)
    row["custom_id"] = _key(row.get("custom_id"), idempotency_key)
    orders: Orders = request.app.state.orders
    done = await orders.add(Order(await off_loop(request, partial(checked, row)), batch, caller.token))
    headers = {"Location": f"/v1/jobs/{done.id}"} | ({} if done.is_new else {"Idempotent-Replayed": "true"})
    facts = done.facts
    if seconds:
        facts = await _awaited(request, caller, done.id, seconds)
        headers |= applied(seconds)
    # Signing links takes a while; a new job has none.
    document = await run_in_threadpool(shown, caller, facts) if facts.images else shown(caller, facts)
    return answer(document, 202 if done.is_new else 200, headers)


router.add_api_route(
    "/v1/jobs",
    add_job,
    methods=["POST"],
    status_code=202,
    responses={200: {"model": JobShown, "description": "It was there already"}, 202: {"model": JobShown}},
    openapi_extra=JOB_BODY,
    route_class_override=DirectRoute,
)


@router.get(
    f"/v1/jobs/{{job_id:{NAME}}}",
    responses={200: {"model": JobShown}, 304: {"description": "Nothing has changed since `If-None-Match`"}},
)
async def get_job(
    request: Request,
    caller: Annotated[Caller, needs(Scope.JOBS_READ)],
    job_id: UUID,
    seconds: Annotated[int, WAIT],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return a job: its state, its images and its money.

    `Prefer: wait=30` answers once the job has ended or is held; with `If-None-Match`, once anything has changed,
    or with 304 if nothing did.
    """
    await run_in_threadpool(caller.job, job_id)
    look = partial(caller.client.mark, job_id)
    mark = await until(request, seconds, look, partial(_is_news, if_none_match))
    headers = {"ETag": _etag(mark), **applied(seconds)}
    if matches(if_none_match, headers["ETag"]):
        return Response(None, 304, headers)
    facts = await run_in_threadpool(caller.job, job_id)
    return answer(await run_in_threadpool(shown, caller, facts), headers=headers)


@router.get("/v1/jobs/{job_id}/story", responses={200: {"model": dict[str, Any]}})
def get_story(caller: Annotated[Caller, needs(Scope.JOBS_READ)], job_id: UUID) -> Response:
    """Return all that is known of a job: what `genqueue explain --json` prints, with every attempt, event and cent.

    What its account spends for all batches together is there for a token of all batches that has `money:read`.
    """
    caller.checked_job(job_id)
    story = {**caller.client.story(job_id), "waits": caller.client.why(job_id)}
    return JSONResponse(story_document(story, sums=sees_sums(caller.token)))


@router.get("/v1/jobs", responses={200: {"model": JobsShown}})
def list_jobs(
    caller: Annotated[Caller, needs(Scope.JOBS_READ)],
    batch: Annotated[str, Query(max_length=MOST_NAME)],
    state: Annotated[str | None, Query(json_schema_extra={"enum": [*STATES, None]})] = None,
    after: Annotated[str | None, Query(alias="cursor", max_length=500, description="`next_cursor` of a page")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """List the jobs of a batch in the order they were added; `next_cursor` leads to the next page, null at the end."""
    if state is not None and state not in STATES:
        raise ProblemError("request_invalid", f"state is one of {', '.join(STATES)}")
    name, filters = batch_name(caller, batch), {"batch": batch, "state": state}
    behind = position(after, filters, UUID)[0] if after else None
    rows = caller.client.jobs(name, state=state, after=behind, limit=limit)
    following = cursor(filters, str(rows[-1]["id"])) if len(rows) == limit else None
    items = [JobLine(**{field: row[field] for field in JobLine.model_fields}) for row in rows]
    return answer(JobsShown(items=items, next_cursor=following))


async def _awaited(request: Request, caller: Caller, job_id: UUID, seconds: int) -> JobFacts:
    await until(request, seconds, partial(caller.client.mark, job_id), _rests)
    return await run_in_threadpool(caller.client.job, job_id)


def _rests(mark: JobMark) -> bool:
    """Tell whether nothing more happens without a person."""
    return mark.state in RESTING


def _is_news(if_none_match: str | None, mark: JobMark) -> bool:
    """Tell whether a waiting caller wants to hear of this now."""
    return not matches(if_none_match, _etag(mark)) if if_none_match else _rests(mark)


def _etag(mark: JobMark) -> str:
    return f'"{"-".join(map(str, mark))}"'


def shown(caller: Caller, facts: JobFacts) -> JobShown:
    """Return the document of a job, with links to its images if the caller may read results."""
    return job_shown(facts, link_of(caller))


def link_of(caller: Caller) -> Link | None:
    """Return what signs links for a caller; None if the caller may not read results."""
    return caller.doors.link if caller.token.allows(Scope.RESULTS_READ) else None


def batch_name(caller: Caller, name: object) -> str:
    """Return a name that a batch may have and the caller may touch; raises `ProblemError`."""
    if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME or not name.isprintable() or "/" in name:
        detail = f"batch must be printable text of 1 to {MOST_NAME} characters without a slash"
        raise ProblemError("request_invalid", detail, {"errors": [{"field": "batch", "detail": detail}]})
    return caller.batch(name)


def _key(custom_id: object, key: str | None) -> object:
    if custom_id is None and not key:
        raise ProblemError("idempotency_key_required")
    if custom_id is not None and key and custom_id != key:
        raise ProblemError("idempotency_key_differs")
    return key if custom_id is None else custom_id
