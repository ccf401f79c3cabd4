"""Uploaded prompt files on their way into a batch: a large one is checked in a process of its own.

Its check takes a whole core for some seconds. In a thread it would take turns with every small request.
"""

import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_process
import anyio.to_thread
from anyio import BrokenWorkerProcess
from fastapi import Request

from producer.api.access import sees_sums
from producer.api.problems import ProblemError, as_problem
from producer.client import Client
from producer.plan.document import plan_document
from producer.prompts import Format, RowRules
from shared.db.audit import Actor
from shared.db.jobs.enqueue import Enqueued
from shared.db.tokens import Token
from shared.prompt_rows.ways import UPLOAD
from shared.settings import Settings

_UPLOADS: Final = 2
_LARGE_BYTES: Final = 256 * 2**10
"""From here on a process is worth its start, which takes about half a second: some thousand rows."""
_BEHIND: Final = 10
"""How far a check stands behind the process that serves, as `nice` counts."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Upload:
    """A prompt file on the disk, and where its rows go."""

    file: Path
    format: Format
    batch: str
    provider: str | None
    token: Token
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our columns that stand in the file under another name."""

    @property
    def rules(self) -> RowRules:
        """The rules for its rows."""
        return RowRules(columns=self.columns, ways=UPLOAD)


def add(client: Client, upload: Upload) -> Enqueued:
    """Add the file's rows; raises as `Client.enqueue_file`."""
    return client.enqueue_file(upload.file, token=upload.token, **_terms(upload))


def plan(client: Client, upload: Upload) -> dict[str, Any]:
    """Return the document of what `add` would do; raises as `Client.plan`."""
    return plan_document(client.plan(upload.file, **_terms(upload)), sums=sees_sums(upload.token))


def _terms(upload: Upload) -> dict[str, Any]:
    return {"format": upload.format, "batch": upload.batch, "provider": upload.provider, "rules": upload.rules}


async def in_turn(
    request: Request, client: Client, upload: Upload, work: Callable[[Client, Upload], _Result]
) -> _Result:
    """Do `work` with an upload, two of them at once in a process; raises as `work`, and `ProblemError`."""
    limiter = request.app.state.uploads
    if limiter is None:
        limiter = request.app.state.uploads = anyio.CapacityLimiter(_UPLOADS)
    if upload.file.stat().st_size < _LARGE_BYTES:
        return await anyio.to_thread.run_sync(work, client, upload, limiter=limiter)
    try:
        done = await anyio.to_process.run_sync(_apart, work, upload, client.settings, client.actor, limiter=limiter)
    except BrokenWorkerProcess:
        raise ProblemError("upload_interrupted") from None
    if isinstance(done, ProblemError):
        raise done
    return done


def _apart(
    work: Callable[[Client, Upload], _Result], upload: Upload, settings: Settings, actor: Actor
) -> _Result | ProblemError:
    """Do the work in this process. Our errors leave it as problems, for not all of them can be pickled."""
    os.nice(_BEHIND - os.nice(0))
    try:
        with Client(settings=settings, actor=actor) as client:
            return work(client, upload)
    except Exception as error:
        problem = as_problem(error)
        if problem is None:
            error.add_note(traceback.format_exc())
            raise
        return problem
