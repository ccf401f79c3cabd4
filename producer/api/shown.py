"""What the API answers with: the documents of jobs, images and batches. Money is text, times are RFC 3339."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from starlette.responses import Response

from producer.client.batches import BatchFacts, is_settled
from shared.db.read.job import JobFacts
from shared.errors import CODES
from shared.lifecycle import FINAL, ImageState

LINK_SECONDS: Final = 3600
"""How long a link in a job or a result reads its image."""
_HELD: Final = frozenset({"in_doubt", "on_hold"})
RESTING: Final = _HELD | FINAL
"""States in which nothing more happens without a person."""
Link = Callable[[str, int], str]
Amount = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount.normalize():f}", return_type=str)]


class Shown(BaseModel):
    """A document of an answer."""

    model_config = ConfigDict(extra="forbid")


class ReasonShown(Shown):
    """Why a job waits or ended; `docs/errors.md` lists the codes."""

    code: str
    detail: str | None
    meaning: str | None
    you_can: str | None


class ImageShown(Shown):
    """One image of a job. `url` reads it for an hour; only tokens with `results:read` get one."""

    index: int = Field(description="counted from 0, among the images of the job")
    state: str
    url: str | None = None
    s3_uri: str | None = None
    sha256: str | None = Field(None, description="hexadecimal, of the stored bytes")
    bytes: int | None = None
    content_type: str | None = None
    width: int | None = Field(None, description="pixels")
    height: int | None = Field(None, description="pixels")
    error_code: str | None = None
    error: str | None = None


class MoneyShown(Shown):
    """A job's money in `unit`. `elsewhere` is on another bill, under the owner's own key there."""

    unit: str
    reserved: Amount
    settled: Amount
    held: Amount
    elsewhere: Amount


class JobLinks(Shown):
    """Paths of this API."""

    self: str
    batch: str


class JobShown(Shown):
    """One job: one paid call, one to ten images. `held`: it waits for a person."""

    id: UUID
    batch: str
    custom_id: str
    provider: str
    account: str
    model: str | None
    state: str
    ended: bool
    held: bool
    cancelling: bool
    priority: int
    reason: ReasonShown | None
    images_asked: int
    images: list[ImageShown]
    metadata: dict[str, Any] = Field(description="what the caller gave along; never sent to a provider")
    money: MoneyShown | None = Field(description="null before the first paid call")
    created_at: datetime
    finished_at: datetime | None
    links: JobLinks


class JobLine(Shown):
    """A job in a list."""

    id: UUID
    custom_id: str
    provider: str
    state: str
    error_code: str | None
    created_at: datetime
    finished_at: datetime | None


class JobsShown(Shown):
    """A page of jobs."""

    items: list[JobLine]
    next_cursor: str | None


class BatchLine(Shown):
    """A batch in a list, with its jobs counted."""

    name: str
    created_at: datetime
    on_unknown: str
    jobs: int
    queued: int
    running: int
    on_hold: int
    in_doubt: int
    succeeded: int
    failed: int
    cancelled: int


class BatchesShown(Shown):
    """A page of batches, oldest first."""

    items: list[BatchLine]
    next_cursor: str | None


class BatchShown(Shown):
    """A batch. `settled`: every job has ended or is held. Counts are exact and cost the same at any size."""

    name: str
    created_at: datetime
    on_unknown: str
    jobs: int
    settled: bool
    held: bool = Field(description="nothing more is bought for it until somebody releases it")
    states: dict[str, int] = Field(description="state -> jobs")
    by_provider: dict[str, dict[str, int]] = Field(description="provider -> state -> jobs")
    reasons: dict[str, int] = Field(description="error code -> jobs")
    max_cost: dict[str, Amount] = Field(description="provider -> cap in its unit")


class Added(Shown):
    """What an upload did: rows given, and how many of them were new."""

    batch: str
    given: int
    added: int


def answer(document: Shown, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a document as a JSON response."""
    return Response(document.model_dump_json(), status, headers, "application/json")


def job_shown(facts: JobFacts, link: Link | None) -> JobShown:
    """Return the document of a job; with `link`, stored images have a URL."""
    job = facts.job
    return JobShown(
        **{name: value for name, value in job.items() if name not in {"error_code", "error", "epoch"}},
        ended=job["state"] in FINAL,
        held=job["state"] in _HELD,
        reason=_reason(job),
        images=[_image(image, link) for image in facts.images],
        money=MoneyShown(**facts.money) if facts.money else None,
        links=JobLinks(self=f"/v1/jobs/{job['id']}", batch=batch_path(job["batch"])),
    )


def batch_shown(facts: BatchFacts) -> BatchShown:
    """Return the document of a batch."""
    totals = facts.totals
    return BatchShown(
        name=facts.row["name"],
        created_at=facts.row["created_at"],
        on_unknown=facts.row["on_unknown"],
        jobs=facts.row["jobs"],
        settled=is_settled(totals) and not facts.is_arriving,
        held=facts.is_held,
        states=totals,
        by_provider=facts.states,
        reasons=facts.reasons,
        max_cost=facts.caps,
    )


def _reason(job: Mapping[str, Any]) -> ReasonShown | None:
    if not job["error_code"]:
        return None
    known = CODES.get(job["error_code"])
    return ReasonShown(
        code=job["error_code"],
        detail=job["error"],
        meaning=known.meaning if known else None,
        you_can=known.you_can if known else None,
    )


def _image(image: Mapping[str, Any], link: Link | None) -> ImageShown:
    stored = image["state"] == ImageState.STORED and image["key"] is not None
    where = {"s3_uri": f"s3://{image['bucket']}/{image['key']}"} if stored else {}
    url = {"url": link(image["key"], LINK_SECONDS)} if stored and link else {}
    facts = {name: value for name, value in image.items() if name not in {"bucket", "key"}}
    return ImageShown(**facts, **where, **url)


def batch_path(name: str) -> str:
    """Return the path of a batch: in ASCII, as a header must be, whatever the name's script."""
    return f"/v1/batches/{quote(name, safe='')}"
