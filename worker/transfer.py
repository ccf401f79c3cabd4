"""Transfer: every ready picture of the claimed jobs into the bucket, earliest expiry first; then the jobs' ends."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from shared.db import images, submissions
from shared.db.engine import Connection
from shared.db.transitions import Claim, Move, move
from shared.lifecycle import IMAGE_FINAL, ImageState, JobState
from worker.copy import NotYet, Picture, copy
from worker.inline import forget
from worker.replies import parse_link
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)


async def transfer(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Copy what is ready and end each job whose pictures are all final; the others are due again later."""
    account = runtime.accounts.get(account_name)
    if account is None:
        await runtime.sql(partial(_back, claims=claims))
        return
    rows = await runtime.sql(partial(images.of_claims, claims=claims, states=[JobState.TRANSFERRING.value]))
    jobs: dict[Claim, list[Any]] = {}
    for row in rows:
        jobs.setdefault(Claim(row["job_id"], row["epoch"]), []).append(row)
    async with anyio.create_task_group() as group:
        for claim, pictures in jobs.items():
            group.start_soon(_copy_job, runtime, account, claim, pictures)


async def _copy_job(runtime: Runtime, account: Account, claim: Claim, rows: Sequence[Any]) -> None:
    """Copy one job's pictures and write its end at once; never raises, for that would cancel its neighbours."""
    with bound_contextvars(batch=str(rows[0]["batch_id"]), job=str(claim.job_id), account=account.name):
        await _copy_and_end(runtime, account, claim, rows)


async def _copy_and_end(runtime: Runtime, account: Account, claim: Claim, rows: Sequence[Any]) -> None:
    waiting: list[NotYet] = []
    async with anyio.create_task_group() as group:
        for row in rows:
            if row["state"] == ImageState.READY.value:
                group.start_soon(_copy_one, runtime, account, _picture(row), waiting)
    first = min(waiting, key=lambda left: left.seconds, default=None)
    try:
        ended = await runtime.write(partial(_end, runtime, claim, first, account.wire.poll_batch > 0))
        if ended is JobState.SUCCEEDED and account.wire.inline:
            inside = (parse_link(row["link"] or "") for row in rows)
            await forget(runtime, {found[0] for found in inside if found})
    except Exception:  # noqa: BLE001 - the job is due again when its lease ends
        _log.exception("end_defect")


async def _copy_one(runtime: Runtime, account: Account, picture: Picture, waiting: list[NotYet]) -> None:
    try:
        left = await copy(runtime, account, picture)
    except Exception:  # noqa: BLE001 - one picture's trouble must not end its neighbours
        _log.exception("copy_defect", index=picture.index)
        left = NotYet(
            runtime.settings.retry_max_seconds,
            "result_unavailable",
            "a defect while copying",
            picture.job_tries + 1,
        )
    if left is not None:
        waiting.append(left)


def _picture(row: Any) -> Picture:
    return Picture(
        claim=Claim(row["job_id"], row["epoch"]),
        index=row["index"],
        upstream_id=row["upstream_id"],
        link=row["link"],
        expires=row["link_expires_at"],
        expired=bool(row["link_expired"]),
        tries=row["tries"],
        job_tries=row["job_tries"],
    )


def _end(
    runtime: Runtime,
    claim: Claim,
    left: NotYet | None,
    asked_again: bool,  # noqa: FBT001 - whether the provider can be polled
    connection: Connection,
) -> JobState | None:
    """Write the job's end once every picture is final or its last bound has passed, else when to look again.

    Returns where the job went; None where somebody else holds it by now.
    """
    if submissions.state_of(connection, claim) is not JobState.TRANSFERRING:
        return None
    pictures = images.states(connection, claim.job_id)
    if _is_open(pictures):
        if asked_again and not any(picture.state == ImageState.READY.value for picture in pictures):
            move(connection, [Move(claim, JobState.TRANSFERRING, JobState.PENDING, 0)], actor=runtime.sender.name)
            return JobState.PENDING
        if not images.past_bound(connection, claim.job_id):
            step = Move(claim, JobState.TRANSFERRING, JobState.TRANSFERRING, runtime.settings.retry_first_seconds)
            if left:
                step = replace(step, due_seconds=left.seconds, code=left.code, note=left.note, tries=left.tries)
            move(connection, [step], actor=runtime.sender.name)
            return step.after
        why = f"; {left.code}: {left.note}" if left else ""
        images.give_up(connection, [claim.job_id], f"not copied within the last bound{why}"[:500])
    verdict = _verdict(claim, images.states(connection, claim.job_id))
    move(connection, [verdict], actor=runtime.sender.name)
    return verdict.after


def _is_open(pictures: Sequence[Any]) -> bool:
    return any(ImageState(picture.state) not in IMAGE_FINAL for picture in pictures)


def _verdict(claim: Claim, pictures: Sequence[Any]) -> Move:
    """Say how a job ended whose pictures are all final."""
    here = partial(Move, claim, JobState.TRANSFERRING)
    failed = [picture for picture in pictures if picture.state == ImageState.FAILED.value]
    if not failed:
        return here(JobState.SUCCEEDED)
    if len(failed) == len(pictures):
        return here(JobState.FAILED, code=failed[0].error_code, note=failed[0].error)
    stored = f"{len(pictures) - len(failed)} of {len(pictures)} images stored"
    return here(JobState.FAILED, code="partial_result", note=f"{stored}; {failed[0].error_code}: {failed[0].error}")


def _back(connection: Connection, claims: Sequence[Claim]) -> None:
    moves = [
        Move(
            claim,
            JobState.TRANSFERRING,
            JobState.TRANSFERRING,
            30,
            code="account_unauthorized",
            note="no worker has the key",
        )
        for claim in claims
    ]
    move(connection, moves, actor="transfer")
