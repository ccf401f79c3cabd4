"""`genqueue restored`: jobs that wait in a restored database although the bucket has their images."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import typer

from ops.cli.download import bucket
from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.terminal import visible
from producer.client import Client
from shared.notes import counted
from worker.transport.storage_errors import StorageError

_PREFIXES: Final = ("images/", "unverified/")
_CLOCKS: Final = timedelta(minutes=5)
"""How far the bucket's clock may be behind the database's."""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


def restored(
    context: typer.Context,
    since: Annotated[
        datetime | None,
        typer.Option(help="read keys since this time (UTC); default: since the last that the database knows"),
    ] = None,
) -> None:
    """List jobs that a restored database would buy again, although the bucket has their images.

    It reads the keys of the bucket, which contain the job's id. It changes
    nothing: it prints the command that cancels each job.

    Example: genqueue restored --since 2026-11-30T20:47:00
    """
    with client(context) as opened:
        begin = _begin(opened, since)
        try:
            ids = {job for prefix in _PREFIXES for job in _jobs_since(begin, prefix)}
        except StorageError as error:
            fail(str(error), ExitCode.BROKEN)
        known = opened.states_of(ids)
    waiting = [job for job in known if job["state"] == "queued"]
    for job in waiting:
        typer.echo(visible(f"genqueue cancel {job['id']} --yes  # {job['batch']}/{job['custom_id']}"))
    wait = counted(len(waiting), "waits", "wait")
    errors().print(
        f"the bucket has images of {counted(len(ids), 'job')} since {begin:%Y-%m-%d %H:%M:%S} UTC: {wait} here "
        f"and would be bought again, {counted(len(ids) - len(known), 'is', 'are')} not in the database"
    )


def _begin(opened: Client, since: datetime | None) -> datetime:
    """Return the time from which keys are read: as asked, or a little before the loss."""
    if since is not None:
        return since.astimezone(UTC) if since.tzinfo else since.replace(tzinfo=UTC)
    found = opened.restoration()
    if found is None:
        fail("the database lacks nothing that workers have noted: say --since TIME", ExitCode.WRONG_INPUT)
    return found.loss.has_until - _CLOCKS if found.loss.has_until else _BEGINNING


def _jobs_since(begin: datetime, prefix: str) -> Iterator[UUID]:
    """Yield the job of each object that was written since then; a key that is not ours is left out."""
    for key, written_at in bucket().keys(prefix):
        if written_at >= begin:
            try:
                yield UUID(key.removeprefix(prefix).split("/", 1)[0])
            except ValueError:
                continue
