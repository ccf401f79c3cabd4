"""Poll: ask a provider for many pictures at once and write only what changed."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

import anyio
import structlog

from shared.backoff import delay
from shared.db import accounts, images, slots
from shared.db.engine import Connection
from shared.db.enqueue import wake
from shared.db.images import ImageChange
from shared.db.transitions import Claim, Move, move, release
from shared.lifecycle import IMAGE_FINAL, POLLED, ImageState, JobState, Outcome
from worker.providers.contract import LONGEST_WAIT_SECONDS, Again, Refused, UpstreamImage
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)
_TOO_LATE: Final = "the provider did not finish it within the last bound"
_OPEN = {ImageState.PENDING.value, ImageState.PROCESSING.value}


async def poll(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Ask for every open picture of the claimed jobs; what could not be asked goes back untouched."""
    account = runtime.accounts.get(account_name)
    if account is None or account.wire.poll_batch == 0:
        await runtime.sql(partial(release, claims=claims, states=POLLED, due_seconds=30))
        return
    rows = await runtime.sql(partial(images.of_claims, claims=claims, states=[state.value for state in POLLED]))
    known: dict[str, UpstreamImage] = {}
    refusal = await _ask_all(runtime, account, [r["upstream_id"] for r in rows if r["state"] in _OPEN], known)
    jobs: dict[UUID, list[Any]] = {}
    for row in rows:
        jobs.setdefault(row["job_id"], []).append(row)
    await runtime.write(partial(_write, runtime, account, list(jobs.values()), known, refusal))


async def _ask_all(
    runtime: Runtime, account: Account, upstream_ids: Sequence[str], known: dict[str, UpstreamImage]
) -> Refused | float | None:
    """Fill `known`; return the refusal met, or the seconds until a window has room, or None when all were asked."""
    size = account.wire.poll_batch
    pages = [upstream_ids[start : start + size] for start in range(0, len(upstream_ids), size)]
    stopped = await _ask_pages(runtime, account, pages, known)
    if stopped is not None:
        return stopped
    # A picture missing from a page is not lost until its own GET says so.
    missing = [[upstream_id] for upstream_id in upstream_ids if upstream_id not in known]
    return await _ask_pages(runtime, account, missing, known)


async def _ask_pages(
    runtime: Runtime, account: Account, pages: Sequence[Sequence[str]], known: dict[str, UpstreamImage]
) -> Refused | float | None:
    if not pages:
        return None
    granted, wait = await runtime.sql(partial(slots.grant, account=account.name, kind="poll", wanted=len(pages)))
    refusals: list[Refused] = []

    async def ask(page: Sequence[str]) -> None:
        try:
            answer = await account.wire.poll(page)
        except Exception as error:  # noqa: BLE001 - one page's defect must keep no job from its bound
            _log.exception("wire_defect", account=account.name, images=len(page))
            note = f"a defect in the wire ({type(error).__name__})"
            answer = Refused(Outcome.REJECTED, Again.NEVER, "provider_error", note)
        if isinstance(answer, Refused):
            refusals.append(answer)
        else:
            known.update(answer)

    async with anyio.create_task_group() as group:
        for page in pages[:granted]:
            group.start_soon(ask, page)
    if refusals:
        return refusals[0]
    return wait if granted < len(pages) else None


def _write(
    runtime: Runtime,
    account: Account,
    jobs: Sequence[Sequence[Any]],
    known: Mapping[str, UpstreamImage],
    refusal: Refused | float | None,
    connection: Connection,
) -> None:
    changes, moves, back = [], [], []
    for rows in jobs:
        asked = [row for row in rows if row["state"] in _OPEN]
        if any(row["upstream_id"] not in known for row in asked) and not rows[0]["given_up"]:
            back.append(Claim(rows[0]["job_id"], rows[0]["epoch"]))
            continue
        learned = [_change(row, known.get(row["upstream_id"]), given_up=rows[0]["given_up"]) for row in rows]
        changes += [change for change, row in zip(learned, rows, strict=True) if change.state.value != row["state"]]
        moves.append(_next(runtime, rows, learned))
    images.change(connection, changes)
    move(connection, moves, actor=runtime.sender.name)
    if any(step.after is JobState.TRANSFERRING for step in moves):
        wake(connection)
    if back:
        release(connection, back, states=POLLED, due_seconds=_react(runtime, account, refusal, connection))


def _react(runtime: Runtime, account: Account, refusal: Refused | float | None, connection: Connection) -> float:
    """Return the seconds until the jobs that could not be asked about are due again; no try is spent."""
    settings = runtime.settings
    if not isinstance(refusal, Refused):
        return refusal or settings.poll_first_seconds
    _log.info("poll_refused", account=account.name, code=refusal.code, status=refusal.http_status)
    if refusal.again is Again.RESUME:
        accounts.pause(
            connection,
            account.name,
            code=refusal.code,
            reason=refusal.message,
            action_url=refusal.action_url,
            probing=runtime.probing,
        )
        return settings.retry_max_seconds
    if refusal.again is Again.AFTER and refusal.after_seconds is not None:
        wait = min(refusal.after_seconds, LONGEST_WAIT_SECONDS)
        accounts.slow_down(connection, account.name, wait)
        return wait
    return delay(
        1,
        first_seconds=settings.poll_first_seconds,
        max_seconds=settings.poll_max_seconds,
        random=runtime.random,
    )


def _change(row: Any, found: UpstreamImage | None, *, given_up: bool) -> ImageChange:
    """Return what a picture is now; past the last bound, one that is not done yet has failed."""
    claim = Claim(row["job_id"], row["epoch"])
    if given_up and (found.state.value if found else row["state"]) in _OPEN:
        return ImageChange(claim, row["index"], ImageState.FAILED, error_code="never_finished", error=_TOO_LATE)
    if found is None:
        return ImageChange(
            claim,
            row["index"],
            ImageState(row["state"]),
            link_expires_at=row["link_expires_at"],
            error_code=row["error_code"],
            error=row["error"],
        )
    return ImageChange(
        claim,
        row["index"],
        found.state,
        link=found.link,
        link_expires_at=found.link_expires_at,
        error_code=found.error_code,
        error=found.error,
    )


def _next(runtime: Runtime, rows: Sequence[Any], learned: Sequence[ImageChange]) -> Move:
    """Decide where a job goes once the state of all its pictures is known."""
    first = rows[0]
    before = JobState(first["job_state"])
    here = partial(Move, Claim(first["job_id"], first["epoch"]), before, needs_claim=True)
    states = [change.state for change in learned]
    if all(state in IMAGE_FINAL or state is ImageState.READY for state in states):
        if any(state is not ImageState.FAILED for state in states):
            expiries = [change.link_expires_at for change in learned if change.link_expires_at]
            return here(JobState.TRANSFERRING, 0, link_expires_at=min(expiries, default=None))
        return here(JobState.FAILED, code=learned[0].error_code, note=learned[0].error)
    tries = first["job_tries"] + 1
    after = before if all(state is ImageState.PENDING for state in states) else JobState.PROCESSING
    settings = runtime.settings
    wait = delay(
        tries,
        first_seconds=settings.poll_first_seconds,
        max_seconds=settings.poll_max_seconds,
        random=runtime.random,
    )
    return here(after, wait, tries=tries)
