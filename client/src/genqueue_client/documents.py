"""The API's documents as types. A field that a later API adds is ignored; `document` has it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

_Document = TypeVar("_Document")


def _read(kind: type[_Document], given: Mapping[str, Any]) -> _Document:
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # each of them is a dataclass
    return kind(**{name: value for name, value in given.items() if name in names})


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class Reason:
    """Why a job waits or ended; genqueue's docs/errors.md lists the codes."""

    code: str
    detail: str | None = None
    meaning: str | None = None
    you_can: str | None = None


@dataclass(frozen=True)
class Image:
    """One image of a job. `url` reads it for an hour after it was asked for; `width` and `height` in pixels."""

    index: int
    state: str
    url: str | None = None
    s3_uri: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    content_type: str | None = None
    width: int | None = None
    height: int | None = None
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Money:
    """A job's money in `unit`."""

    unit: str
    reserved: Decimal
    settled: Decimal
    held: Decimal
    elsewhere: Decimal


@dataclass(frozen=True)
class JobLine:
    """A job in a list."""

    id: str
    custom_id: str
    provider: str
    state: str
    error_code: str | None
    created_at: str
    finished_at: str | None


@dataclass(frozen=True)
class BatchLine:
    """A batch in a list, with its jobs counted."""

    name: str
    created_at: str
    jobs: int = 0
    queued: int = 0
    running: int = 0
    on_hold: int = 0
    in_doubt: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class Added:
    """What an upload did: rows given, and how many of them were new."""

    batch: str
    given: int
    added: int


class JobFacts:
    """What is known of one job, as of the last answer about it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.document["id"])

    @property
    def batch_name(self) -> str:
        """The batch that it is in."""
        return str(self.document["batch"])

    @property
    def custom_id(self) -> str:
        """The id that its caller gave it."""
        return str(self.document["custom_id"])

    @property
    def state(self) -> str:
        """Its state, such as queued, succeeded, failed or in_doubt."""
        return str(self.document["state"])

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return bool(self.document["ended"])

    @property
    def held(self) -> bool:
        """Whether it waits for a person."""
        return bool(self.document["held"])

    @property
    def succeeded(self) -> bool:
        """Whether every image is there."""
        return self.state == "succeeded"

    @property
    def reason(self) -> Reason | None:
        """Why it waits or failed."""
        given = self.document.get("reason")
        return _read(Reason, given) if given else None

    @property
    def images(self) -> list[Image]:
        """Its images, by index."""
        return [_read(Image, image) for image in self.document["images"]]

    @property
    def money(self) -> Money | None:
        """Its money; None before the first paid call."""
        given = self.document.get("money")
        if not given:
            return None
        amounts = {name: Decimal(given[name]) for name in ("reserved", "settled", "held", "elsewhere")}
        return Money(given["unit"], **amounts)

    @property
    def metadata(self) -> dict[str, Any]:
        """What its caller gave along."""
        return dict(self.document.get("metadata") or {})

    @property
    def created_at(self) -> datetime:
        """When it was added."""
        made = _time(self.document["created_at"])
        assert made is not None
        return made

    @property
    def finished_at(self) -> datetime | None:
        """When it ended."""
        return _time(self.document.get("finished_at"))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.batch_name}/{self.custom_id} {self.state}>"


class BatchFacts:
    """What is known of one batch, as of the last answer about it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["name"])

    @property
    def jobs(self) -> int:
        """How many jobs it has."""
        return int(self.document["jobs"])

    @property
    def settled(self) -> bool:
        """Whether every job has ended or is held."""
        return bool(self.document["settled"])

    @property
    def states(self) -> dict[str, int]:
        """State -> number of jobs."""
        return dict(self.document["states"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.states}>"


@dataclass(frozen=True)
class Page:
    """One page of a list, and the cursor of the next."""

    items: list[dict[str, Any]]
    next_cursor: str | None = field(default=None)


def job_line(given: Mapping[str, Any]) -> JobLine:
    """Return a job of a list."""
    return _read(JobLine, given)


def batch_line(given: Mapping[str, Any]) -> BatchLine:
    """Return a batch of a list."""
    return _read(BatchLine, given)


def added(given: Mapping[str, Any]) -> Added:
    """Return what an upload did."""
    return _read(Added, given)


def page(given: Mapping[str, Any]) -> Page:
    """Return a page of a list."""
    return _read(Page, given)
