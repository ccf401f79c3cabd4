"""What people ask of one job: its whole story, in three statements."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    bindparam,
    cast,
    literal,
    literal_column,
    null,
    select,
    text,
)
from sqlalchemy import union_all as union
from sqlalchemy.dialects.postgresql import JSONB

from shared.db.lost_calls.candidates import OF_CALL
from shared.db.payments.spending import SPENT_TODAY
from shared.db.rows import metadata
from shared.lifecycle import JobState

_JOB = text(f"""
SELECT job.*, batch.name AS batch, batch.on_unknown, batch.caps, now() AS now, account.paused_code,
  account.paused_reason, account.action_url, account.probe_at, account.not_before, account.unit, account.daily_cap,
  {SPENT_TODAY} AS spent_today,
  coalesce(kept.metadata, '{{}}') AS metadata
FROM job JOIN batch ON batch.id = job.batch_id JOIN account ON account.name = job.account
  LEFT JOIN job_metadata kept ON kept.job_id = job.id WHERE job.id = :id
""")
_SUBMISSION: Final = metadata.tables["submission"]
_IMAGE: Final = metadata.tables["image"]
_EVENT: Final = metadata.tables["job_event"]
_LEDGER: Final = metadata.tables["ledger"]
_OF_IMAGE: Final = "image."
"""How the name of an image's column begins, in a row that has its attempt's columns too."""
_PART: Final = "part"
_ID: Final[Any] = bindparam("id")
_CANDIDATES: Final = "candidates"


def _attempts(candidates: str) -> Any:
    return (
        select(
            *_SUBMISSION.c,
            *(column.label(_OF_IMAGE + column.name) for column in _IMAGE.c),
            literal_column(candidates, JSONB).label(_CANDIDATES),
        )
        .join_from(_SUBMISSION, _IMAGE, _IMAGE.c.submission_id == _SUBMISSION.c.id, isouter=True)
        .where(_SUBMISSION.c.job_id == _ID)
        .order_by(_SUBMISSION.c.opened_at, _IMAGE.c.index)
    )


_ATTEMPTS: Final = _attempts("CAST('[]' AS jsonb)")
_ATTEMPTS_SHOWN: Final = _attempts(
    f"CASE WHEN submission.outcome = 'unknown' THEN ({OF_CALL.format(submission='submission.id')}) ELSE '[]' END"
)


def _shared_columns(of: Table, other: Table) -> list[ColumnElement[Any]]:
    """Return the columns of both tables by name, as a row of the first: those of the second alone are null."""
    names = [*of.c, *(column for column in other.c if column.name not in of.c)]
    every = sorted(names, key=lambda column: column.name)
    return [column if column.name in of.c else cast(null(), column.type).label(column.name) for column in every]


def _rows(of: Table, other: Table) -> Any:
    return select(literal(of.name).label(_PART), *_shared_columns(of, other)).where(of.c.job_id == _ID)


_TIMELINE: Final = union(_rows(_EVENT, _LEDGER), _rows(_LEDGER, _EVENT)).order_by("id")


def story(connection: Connection, job_id: UUID) -> dict[str, Any]:
    """Return everything known of one job: its row, attempts to pay, images, ledger lines and events, in order.

    `candidates`: pictures of the provider's list that may be what a lost call of it bought, as `candidates.OF_CALL`.
    Raises `LookupError` if there is no such job.
    """
    by_id = {"id": job_id}
    found = connection.execute(_JOB, by_id).mappings().one_or_none()
    if found is None:
        raise LookupError(f"there is no job {job_id}")
    job = dict(found)
    shown = job["state"] == JobState.IN_DOUBT
    attempts = connection.execute(_ATTEMPTS_SHOWN if shown else _ATTEMPTS, by_id).mappings().all()
    timeline = connection.execute(_TIMELINE, by_id).mappings().all()
    submissions = {row["id"]: _only(row, _SUBMISSION.c) for row in attempts}
    images = [_only(row, _IMAGE.c, _OF_IMAGE) for row in attempts if row[f"{_OF_IMAGE}job_id"] is not None]
    return {
        "job": job,
        "submissions": list(submissions.values()),
        "images": sorted(images, key=lambda image: int(image["index"])),
        "ledger": [_only(row, _LEDGER.c) for row in timeline if row[_PART] == _LEDGER.name],
        "candidates": attempts[-1][_CANDIDATES] if attempts else [],
        "events": [_only(row, _EVENT.c) for row in timeline if row[_PART] == _EVENT.name],
    }


def _only(row: RowMapping, columns: Iterable[Any], beginning: str = "") -> Mapping[str, Any]:
    return {column.name: row[beginning + column.name] for column in columns}
