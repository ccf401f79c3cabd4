"""`genqueue accept`: a person accepts images that were kept because they could not be verified."""

from collections.abc import Sequence
from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail
from shared.db.jobs.accept import UnverifiedImage
from shared.notes import counted

_SHOWN = 20


def accept(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")] = None,
    batch: Annotated[str | None, typer.Option(help="every job of this batch that has such an image")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be accepted; change nothing")] = False,
) -> None:
    """Accept unverified images, after you have looked at them: they then count as stored.

    A result that begins as an image but did not pass the check lies in the
    bucket under unverified/. Accepting it costs nothing. If a job then has all
    its images, it has succeeded.

    Example: genqueue accept spring/row-000042
    """
    if (job is None) == (batch is None):
        fail("name one job, or a batch with --batch NAME", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        named = opened.find_job(job) if job else None
        found = opened.unverified(job=named, batch=batch)
        if not found:
            fail("no failed or cancelled job that matches has a kept, unverified picture", ExitCode.WRONG_INPUT)
        _show(found)
        if dry_run:
            jobs = len({picture.job_id for picture in found})
            errors().print(
                f"{counted(len(found), 'image')} of {counted(jobs, 'job')} would be accepted; nothing was changed"
            )
            return
        taken = opened.accept(found)
    more = f"; {taken.others:,} still lack other images or stay cancelled" if taken.others else ""
    errors().print(f"{counted(taken.images, 'image')} accepted, {counted(taken.succeeded, 'job')} succeeded{more}")


def _show(found: Sequence[UnverifiedImage]) -> None:
    for picture in found[:_SHOWN]:
        name = f"{picture.batch}/{picture.custom_id} image {picture.index + 1}"
        where = f"s3://{picture.bucket}/{picture.key}"
        errors().print(f"{name}: {where}  {picture.bytes:,} bytes  {picture.error or ''}")
    if len(found) > _SHOWN:
        errors().print(f"... and {len(found) - _SHOWN:,} more")
