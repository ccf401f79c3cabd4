"""Transfer: every ready picture of the claimed jobs into the bucket, earliest expiry first; then the jobs' ends."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import anyio
import structlog

from shared.db import images
from shared.db.engine import Connection
from shared.db.transitions import Claim, Move, move
from shared.lifecycle import IMAGE_FINAL, ImageState, JobState
from worker.copy import NotYet, Picture, copy
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)


async def transfer(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Copy what is ready and end each job whose pictures are all final; the others are due again later."""
    account = runtime.accounts.get(account_name)
    if account is None:
        await runtime.sql(partial(_back, claims=claims))
        return
    rows = await runtime.sql(partial(images.of_claims, claims=claims, states=[JobState.TRANSFERRING.value]))
    waiting: dict[UUID, NotYet] = {}
    async with anyio.create_task_group() as group:
        for row in rows:
            if row["state"] == ImageState.READY.value:
                group.start_soon(_copy_one, runtime, account, _picture(row), waiting)
    for claim in {Claim(row["job_id"], row["epoch"]) for row in rows}:
        await runtime.write(partial(_end, runtime, claim, waiting.get(claim.job_id)))


async def _copy_one(runtime: Runtime, account: Account, picture: Picture, waiting: dict[UUID, NotYet]) -> None:
    try:
        left = await copy(runtime, account, picture)
    except Exception:  # one picture's trouble must not end its neighbours
        _log.exception("copy_defect", job=str(picture.claim.job_id), index=picture.index)
        left = NotYet(
            runtime.settings.retry_max_seconds,
            "result_unavailable",
            "a defect while copying",
            picture.tries + 1,
        )
    if left is not None:
        known = waiting.get(picture.claim.job_id)
        waiting[picture.claim.job_id] = min(left, known, key=lambda w: w.seconds) if known else left


def _picture(row: Any) -> Picture:
    return Picture(
        claim=Claim(row["job_id"], row["epoch"]),
        index=row["index"],
        upstream_id=row["upstream_id"],
        link=row["link"],
        expires=row["link_expires_at"],
        expired=bool(row["link_expired"]),
        tries=row["tries"],
        custom_id=row["custom_id"],
    )


def _end(runtime: Runtime, claim: Claim, left: NotYet | None, connection: Connection) -> None:
    """Write the job's end once every picture is final, else when to look again."""
    pictures = images.states(connection, claim.job_id)
    here = partial(Move, claim, JobState.TRANSFERRING)
    failed = [picture for picture in pictures if picture.state == ImageState.FAILED.value]
    if any(ImageState(picture.state) not in IMAGE_FINAL for picture in pictures):
        seconds = left.seconds if left else runtime.settings.retry_first_seconds
        step = here(JobState.TRANSFERRING, seconds)
        if left:
            step = replace(step, code=left.code, note=left.note, tries=left.tries)
    elif not failed:
        step = here(JobState.SUCCEEDED)
    elif len(failed) < len(pictures):
        note = (
            f"{len(pictures) - len(failed)} of {len(pictures)} images stored; {failed[0].error_code}: {failed[0].error}"
        )
        step = here(JobState.FAILED, code="partial_result", note=note)
    else:
        step = here(JobState.FAILED, code=failed[0].error_code, note=failed[0].error)
    move(connection, [step], actor=runtime.sender.name)


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
