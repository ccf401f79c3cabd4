"""The part of a `Client` that reads jobs and their images, and acts on one job."""

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NoReturn
from uuid import UUID

from producer.client.bulk import terms_of_resolve
from producer.client.connection import Connected, NoSuchBatchError
from producer.money import is_amount
from shared.db import audit
from shared.db.engine import Connection
from shared.db.jobs import accept, choose, inbox
from shared.db.jobs.accept import Taken, UnverifiedImage
from shared.db.jobs.bulk import NIL, Which
from shared.db.jobs.cancel import Cancelled, cancel
from shared.db.jobs.choose import OpenChoice
from shared.db.jobs.resolve import resolve, second_charge
from shared.db.payments import kept_answers
from shared.db.read import batch_page, by_metadata, inbox_row, pages
from shared.db.read import job as read_job
from shared.db.read.batch_page import Filter
from shared.db.read.job import JobFacts, JobMark
from shared.db.read.pages import Row
from shared.lifecycle import JobState

_BUSY_SECONDS: Final = 0.05
_CANCEL_SECONDS: Final = 60.0


class NoSuchJobError(LookupError):
    """No job, or more than one, has that name."""


class Jobs(Connected):
    """Single jobs and images."""

    def jobs(
        self,
        batch: str,
        *,
        state: str | None = None,
        where: Mapping[str, str] | None = None,
        after: UUID | None = None,
        limit: int = 100,
    ) -> list[Row]:
        """Return up to `limit` jobs of `batch`, beginning behind the job `after`; raises `NoSuchBatchError`.

        `where`: only jobs whose metadata has these keys with these values; the rows then have `metadata` too.
        """
        found: list[Row] = []
        while True:
            size = min(limit - len(found), pages.SIZE)
            with self._connection() as connection:
                self._require(connection, batch)
                if where:
                    page = by_metadata.jobs(connection, where, batch=batch, state=state, after=after, limit=size)
                else:
                    page = pages.jobs(connection, batch, state=state, after=after, limit=size)
            found += page
            if len(page) < size or len(found) >= limit:
                return found
            after = page[-1]["id"]

    def find_job(self, name: str) -> UUID:
        """Return the job that `name` means: an id or its beginning, a custom_id, or BATCH/custom_id.

        Raises `NoSuchJobError` if none or several match.
        """
        with self._connection() as connection:
            found = pages.find_jobs(connection, name)
            said = inbox.said_of(connection, name) if not found else None
            is_batch = not found and pages.batch_exists(connection, name)
        if said:
            raise NoSuchJobError(f"there is no job {name[:80]!r}: {said}")
        if is_batch:
            listed = f"genqueue jobs {'-- ' * name.startswith('-')}{shlex.quote(name)}"
            raise NoSuchJobError(f"no job is called {name[:80]!r}, it is a batch: {listed}")
        if not found:
            raise NoSuchJobError(f"no job is called {name[:80]!r}: give an id, a custom_id, or BATCH/custom_id")
        if len(found) > 1:
            raise NoSuchJobError(f"{len(found)} jobs answer to {name[:80]!r}: give the id, or BATCH/custom_id")
        return found[0]

    def job(self, job_id: UUID) -> JobFacts:
        """Return a job with its images and its money, also one whose row no worker has checked yet (`inbox`).

        Raises `NoSuchJobError`.
        """
        with self._connection() as connection:
            found = read_job.job(connection, job_id) or _of_inbox(connection, job_id)
            # Between the two looks a worker may have made a job of the row.
            return found or read_job.job(connection, job_id) or _no_job(job_id)

    def mark(self, job_id: UUID) -> JobMark:
        """Return what to compare with an earlier look at a job; raises `NoSuchJobError`."""
        with self._connection() as connection:
            found = read_job.mark(connection, job_id)
            if found is None and _of_inbox(connection, job_id):
                return inbox_row.MARK
            return found or read_job.mark(connection, job_id) or _no_job(job_id)

    def story(self, job_id: UUID) -> dict[str, Any]:
        """Return everything known of one job: its row, attempts to pay, images, ledger lines and events.

        Raises `NoSuchJobError`.
        """
        with self._connection() as connection:
            from shared.db.read.story import story  # noqa: PLC0415 - the tables as classes take half a second to load

            try:
                return story(connection, job_id)
            except LookupError as error:
                raise NoSuchJobError(str(error)) from None

    def results(self, batch: str, *, after: UUID | None = None) -> Iterator[Row]:
        """Yield one row for each image asked for, stored or not, behind the job `after`; raises `NoSuchBatchError`.

        They are read a few hundred jobs at a time, in their state at that time. No transaction is open between two
        pages.
        """
        while True:
            with self._connection() as connection:
                self._require(connection, batch)
                page = pages.results(connection, batch, after=after)
            yield from page.rows
            if page.after is None:
                return
            after = page.after

    def pictured(self, batch: str, *, state: str | None = None) -> Iterator[Row]:
        """Yield each job of `batch` with its prompt, cost and images (`pictures`); raises `NoSuchBatchError`.

        They are read a page at a time, as `results` are.
        """
        after = None
        while True:
            with self._connection() as connection:
                head = batch_page.head(connection, batch)
                if head is None:
                    raise NoSuchBatchError(batch)
                page = batch_page.jobs(connection, head.id, Filter(state), after=after, limit=pages.RESULT_JOBS)
            yield from page.jobs
            if page.after is None:
                return
            after = page.after

    def metadata_keys(self, batch: str) -> list[str]:
        """Return every key that a job of `batch` has in its metadata, sorted; raises `NoSuchBatchError`."""
        found: set[str] = set()
        after = None
        while True:
            with self._connection() as connection:
                self._require(connection, batch)
                page = pages.metadata_keys(connection, batch, after=after)
            found.update(page.keys)
            if page.after is None:
                return sorted(found)
            after = page.after

    def unverified(self, *, job: UUID | None = None, batch: str | None = None) -> list[UnverifiedImage]:
        """Return the images of ended jobs that are kept because they could not be verified; changes nothing.

        Raises `NoSuchBatchError`.
        """
        with self._connection() as connection:
            if batch is not None:
                self._require(connection, batch)
            return accept.kept(connection, job=job, batch=batch)

    def accept(self, pictures: Sequence[UnverifiedImage]) -> Taken:
        """Accept images of `unverified` as stored; a job that then has all its images has succeeded."""
        entry = self._entry("accept", _common(pictures))
        with self._connection() as connection:
            taken = accept.accept(connection, pictures, actor="person")
            audit.note(connection, entry, changed=taken.images)
            return taken

    def resolve(self, job: UUID, *, resend: bool, charged: Decimal | None = None) -> str:
        """End a job in doubt: send it again, or give it up. Returns the job's new state.

        `charged` is the cost of the lost call in the provider's own history; None leaves the money held. Raises
        `NotHeldError`, and `ValueError` for an invalid amount.
        """
        if charged is not None and not is_amount(charged):
            raise ValueError(f"not an amount: {charged!s:.40}")
        entry = self._entry("resolve", Which(job=job), terms_of_resolve(resend=resend, charged=charged))
        with self._connection() as connection:
            worst = second_charge(connection, job) if resend else audit.FREE
            audit.note(connection, entry, changed=1, worst=worst)
            return resolve(connection, job, resend=resend, charged=charged, actor="person")

    def open_choice(self, job: UUID) -> OpenChoice:
        """Return the pictures at the provider that a job's lost call may have bought; raises `NotHeldError`."""
        with self._connection() as connection:
            return choose.open_choice(connection, job)

    def choose(self, job: UUID, pictures: Sequence[str], *, charged: Decimal | None = None) -> str:
        """Take these pictures, by their ids at the provider, as what a job's lost call bought; return its new state.

        The job collects them, free. `charged` is what the provider's history shows for the call; None: the price that
        was set aside. Raises `NotHeldError`, `NotACandidateError`, and `ValueError` for an invalid amount.
        """
        if charged is not None and not is_amount(charged):
            raise ValueError(f"not an amount: {charged!s:.40}")
        terms = "--bought" if charged is None else f"--bought --charged {charged:f}"
        with self._connection() as connection:
            audit.note(connection, self._entry("resolve", Which(job=job), terms), changed=1)
            return choose.choose(connection, job, pictures, charged=charged, actor="person")

    def look_again(self, job: UUID) -> JobState:
        """Make a job in doubt due for a look now, its kept answer included; return the job's state.

        Raises `NoSuchJobError`.
        """
        with self._connection() as connection:
            return kept_answers.look_again(connection, job) or _no_job(job)

    def waiting_for_room(self) -> list[Row]:
        """Return how many jobs of each account wait because their answers cannot be kept, with the reason."""
        with self._connection() as connection:
            return kept_answers.waiting_for_room(connection)

    def cancel(self, *, job: UUID | None = None, batch: str | None = None) -> Cancelled:
        """Cancel the jobs that match and have not ended: free if nothing is bought yet.

        A job that is bought, or being bought, is followed: stored, accounted for, and ended as cancelled.
        """
        ended = followed = held = 0
        after = NIL
        entry = self._entry("cancel", Which(job=job, batch=batch))
        end = time.monotonic() + _CANCEL_SECONDS
        while True:
            with self._connection() as connection:
                if batch is not None:
                    self._require(connection, batch)
                done = cancel(connection, job=job, batch=batch, after=after, actor="person")
                audit.note(connection, entry, changed=done.ended + done.followed)
            after = done.after
            ended, followed, held = ended + done.ended, followed + done.followed, held + done.held
            if not done.more or time.monotonic() >= end:
                return Cancelled(ended, followed, done.more, held)
            if after == NIL and not done.ended + done.followed:
                time.sleep(_BUSY_SECONDS)  # workers hold the remaining jobs for the length of a statement


def _of_inbox(connection: Connection, job_id: UUID) -> JobFacts | None:
    """Return the job that a row of the inbox will be; raises `NoSuchJobError` if it says why none was made of it."""
    found = inbox_row.inbox_row(connection, job_id)
    if isinstance(found, str):
        raise NoSuchJobError(f"there is no job {job_id}: {found}")
    return found


def _no_job(job_id: UUID) -> NoReturn:
    raise NoSuchJobError(f"there is no job {job_id}")


def _common(pictures: Sequence[UnverifiedImage]) -> Which:
    """Return the name for all of these images: their job, or their batch."""
    jobs, batches = ({one.job_id for one in pictures}, {one.batch for one in pictures})
    return Which(job=min(jobs) if len(jobs) == 1 else None, batch=min(batches) if len(batches) == 1 else None)
