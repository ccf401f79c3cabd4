"""The SDK: enqueue, watch and read results from Python; it needs the database and nothing else."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self
from uuid import UUID

from pydantic import SecretStr

from producer import planning
from producer.money import is_amount, parse_caps
from producer.prompts import Format, LineFault, PreparedFile, read, read_rows
from shared import catalog
from shared.db import accounts, drift, reports, retry, schema, strays, workers
from shared.db.accounts import AccountRow
from shared.db.cancel import Cancelled, cancel
from shared.db.caps import of_batch, set_for
from shared.db.engine import Connection, open_engine, transaction
from shared.db.enqueue import Enqueued, NewJob, Policy, enqueue, wake
from shared.db.facts import DatabaseFacts, database_facts
from shared.db.reports import Row
from shared.db.resolve import resolve
from shared.db.retry import RetryPlan
from shared.db.workers import ALIVE_SECONDS
from shared.settings import Settings, Window, load

_POLL_SECONDS = 0.5
_BUSY_SECONDS = 0.05
_CANCEL_SECONDS = 60.0
OnUnknown = Literal["hold", "resend"]
_UNDECIDED = ("queued", "submitting", "pending", "processing", "transferring", "looking_up")


class InvalidRowsError(Exception):
    """Some rows are wrong; nothing was enqueued. `faults` holds the first thousand of `count`."""

    def __init__(self, faults: list[LineFault], count: int) -> None:
        self.faults = faults
        self.count = count
        first = faults[0]
        super().__init__(f"{count} fault(s), the first in row {first.line}, {first.field}: {first.message}")


class NoSuchBatchError(LookupError):
    """There is no batch of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no batch {name!r}; `genqueue batches` lists them")


class NoSuchJobError(LookupError):
    """No job, or more than one, answers to that name."""


class Client:
    """A producer's door to the queue. Settings come from the environment unless given.

    Raises `SettingsError`, `DatabaseUnavailableError` or `SchemaError` where the queue cannot be used.
    """

    def __init__(self, database_url: str | None = None, *, settings: Settings | None = None) -> None:
        self.settings = settings or load()
        url = SecretStr(database_url) if database_url else self.settings.database_url
        self._engine = open_engine(url, application="genqueue producer", pool_size=2)
        try:
            schema.check(self._engine)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def enqueue(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        batch: str,
        provider: str | None = None,
        on_unknown: OnUnknown | None = None,
        max_cost: Sequence[str] = (),
    ) -> Enqueued:
        """Add `rows` (keys as the columns of a prompt file) to `batch`; all of them, or none.

        The same rows under the same batch name again add nothing. `on_unknown` and `max_cost` (such as "getimg=10.00")
        are the batch's from now on; see `Policy`. Raises `InvalidRowsError` with every fault, `CapError`, and
        `EnqueueConflictError` where a custom_id stands for another request already.
        """
        with read_rows(rows, default_provider=provider, providers=catalog.names()) as prepared:
            return self.enqueue_prepared(prepared, batch=batch, on_unknown=on_unknown, max_cost=max_cost)

    def enqueue_file(  # noqa: PLR0913 - one option each
        self,
        source: Path | str,
        *,
        batch: str,
        provider: str | None = None,
        format: Format = "auto",  # noqa: A002 - the name that the command line uses
        stdin: BinaryIO | None = None,
        local_files: bool = False,
        on_unknown: OnUnknown | None = None,
        max_cost: Sequence[str] = (),
    ) -> Enqueued:
        """Add a prompt file, read once and checked whole; raises as `enqueue`, and `PromptFileError`.

        With `local_files`, references may name files beside it, for providers that take pictures inline.
        """
        with read(
            source,
            format=format,
            default_provider=provider,
            providers=catalog.names(),
            stdin=stdin,
            local_files=local_files,
        ) as prepared:
            return self.enqueue_prepared(prepared, batch=batch, on_unknown=on_unknown, max_cost=max_cost)

    def enqueue_prepared(
        self,
        prepared: PreparedFile,
        *,
        batch: str,
        on_unknown: OnUnknown | None = None,
        max_cost: Sequence[str] = (),
    ) -> Enqueued:
        """Add rows that were read and checked before; raises as `enqueue`."""
        if prepared.fault_count:
            raise InvalidRowsError(prepared.faults, prepared.fault_count)
        jobs = (
            NewJob(row.custom_id, row.provider, row.provider, row.request.decode(), row.fingerprint, row.priority)
            for row in prepared.rows()
        )
        caps = parse_caps(max_cost, providers=prepared.providers) if max_cost else None
        policy = Policy(self.settings.deadline_seconds, self.settings.collect_seconds, on_unknown, caps)
        with self._connection() as connection:
            return enqueue(connection, batch, jobs, [_default_account(name) for name in prepared.providers], policy)

    def cap(self, batch: str, max_cost: Sequence[str]) -> dict[str, Decimal]:
        """Set caps of `batch` and let what waited for room try again; an empty sequence takes all of them away.

        Returns the caps that hold now, by provider. Raises `CapError` and `NoSuchBatchError`.
        """
        with self._connection() as connection:
            self._require(connection, batch)
            set_for(connection, batch, parse_caps(max_cost, providers=reports.counts(connection, batch)))
            wake(connection)
            return of_batch(connection, batch)

    def plan(
        self,
        source: Path | str,
        *,
        batch: str,
        provider: str | None = None,
        format: Format = "auto",  # noqa: A002 - the name that the command line uses
        local_files: bool = False,
        max_cost: Sequence[str] = (),
    ) -> planning.Plan:
        """Return what `enqueue_file` would add, cost and take, and what is missing for it; changes nothing.

        Raises as `enqueue_file`, save that a custom_id that stands for another request is counted as a conflict.
        """
        with read(
            source, format=format, default_provider=provider, providers=catalog.names(), local_files=local_files
        ) as prepared:
            if prepared.fault_count:
                raise InvalidRowsError(prepared.faults, prepared.fault_count)
            caps = parse_caps(max_cost, providers=prepared.providers) if max_cost else None
            with self._connection() as connection:
                return planning.plan(connection, prepared, batch=batch, settings=self.settings, max_cost=caps)

    def batches(self) -> list[Row]:
        """Return every batch with its jobs counted by what they are doing."""
        with self._connection() as connection:
            return reports.batches(connection)

    def counts(self, batch: str) -> dict[str, dict[str, int]]:
        """Return provider -> state -> number of jobs; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            return reports.counts(connection, batch)

    def wait(self, batch: str, *, timeout_seconds: float | None = None) -> dict[str, int]:
        """Return state -> number of jobs once every job of `batch` has ended or is held.

        Raises `TimeoutError` after `timeout_seconds`, `NoSuchBatchError`.
        """
        end = time.monotonic() + timeout_seconds if timeout_seconds is not None else float("inf")
        while True:
            totals = self.totals(batch)
            if is_settled(totals):
                return totals
            if time.monotonic() >= end:
                raise TimeoutError(f"batch {batch!r} has not ended within {timeout_seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def totals(self, batch: str) -> dict[str, int]:
        """Return state -> number of jobs of `batch`; raises `NoSuchBatchError`."""
        totals: dict[str, int] = {}
        for states in self.counts(batch).values():
            for state, jobs in states.items():
                totals[state] = totals.get(state, 0) + jobs
        return totals

    def jobs(self, batch: str, *, state: str | None = None, after: UUID | None = None, limit: int = 100) -> list[Row]:
        """Return up to `limit` jobs of `batch`, beginning behind the job `after`; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            return reports.jobs(connection, batch, state=state, after=after, limit=limit)

    def find_job(self, name: str) -> UUID:
        """Return the job that `name` means: an id or its beginning, a custom_id, or BATCH/custom_id.

        Raises `NoSuchJobError` where none or several answer.
        """
        with self._connection() as connection:
            found = reports.find_jobs(connection, name)
        if not found:
            raise NoSuchJobError(f"no job is called {name[:80]!r}: give an id, a custom_id, or BATCH/custom_id")
        if len(found) > 1:
            raise NoSuchJobError(f"{len(found)} jobs answer to {name[:80]!r}: give the id, or BATCH/custom_id")
        return found[0]

    def story(self, job_id: UUID) -> dict[str, Any]:
        """Return everything known of one job: its row, attempts to pay, images, ledger lines and events."""
        with self._connection() as connection:
            return reports.story(connection, job_id)

    def results(self, batch: str) -> Iterator[Row]:
        """Yield one row for each image asked for, stored or not; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            self._require(connection, batch)
            yield from reports.results(connection, batch)

    def bill(self, batch: str | None = None) -> list[Row]:
        """Return settled, reserved and held money by account, of one batch or of all; raises `NoSuchBatchError`."""
        with self._connection() as connection:
            if batch is not None:
                self._require(connection, batch)
            return reports.bill(connection, batch)

    def balance_spans(self) -> list[drift.Span]:
        """Return how each balance that a provider reports moved, beside what the ledger says was spent."""
        with self._connection() as connection:
            return drift.spans(connection)

    def accept_drift(self, account: str) -> bool:
        """Compare the account's balance anew from its newest reading on; False where none was ever read."""
        with self._connection() as connection:
            return drift.accept(connection, account)

    def accounts(self) -> list[dict[str, object]]:
        """Return every account as a worker last wrote it: limits, pause and its reason."""
        with self._connection() as connection:
            return accounts.listing(connection)

    def strays(self) -> list[dict[str, object]]:
        """Return the pictures that providers made and that no submission of ours owns."""
        with self._connection() as connection:
            return strays.listing(connection)

    def live_workers(self) -> int:
        """Return how many worker processes tick."""
        return sum(1 for row in self.workers() if float(str(row["tick_age_seconds"])) < ALIVE_SECONDS)

    def workers(self) -> list[dict[str, object]]:
        """Return every worker with the seconds since its dispatcher's last tick."""
        with self._connection() as connection:
            return workers.listing(connection)

    def database_facts(self) -> DatabaseFacts:
        """Return the database's version and schema, and its clock beside this machine's."""
        with self._connection() as connection:
            return database_facts(connection)

    def pause(self, account: str, reason: str) -> bool:
        """Stop new paid calls of `account`; False where it was paused already."""
        with self._connection() as connection:
            return accounts.pause(connection, account, code="paused_by_hand", reason=reason, action_url=None)

    def resume(self, account: str) -> bool:
        """Let paid calls of `account` start again; False where there is no such account."""
        with self._connection() as connection:
            return accounts.resume(connection, account)

    def plan_retry(self, *, job: UUID | None = None, batch: str | None = None, code: str | None = None) -> RetryPlan:
        """Return the failed jobs that match, by what a retry would do with them; changes nothing."""
        providers = [catalog.get(name) for name in catalog.names()]
        polled = [provider.name for provider in providers if provider.kind == "async" or provider.asked_again]
        with self._connection() as connection:
            if batch is not None:
                self._require(connection, batch)
            return retry.plan(connection, polled=polled, job=job, batch=batch, code=code)

    def retry(self, plan: RetryPlan, *, buy_again: bool = False) -> int:
        """Carry out a plan of `plan_retry` and return how many jobs go on; bought ones only with `buy_again`."""
        with self._connection() as connection:
            return retry.carry_out(
                connection,
                plan,
                actor="person",
                buy_again=buy_again,
                deadline_seconds=self.settings.deadline_seconds,
                collect_seconds=self.settings.collect_seconds,
            )

    def resolve(self, job: UUID, *, resend: bool, charged: Decimal | None = None) -> str:
        """End a job in doubt: send it again, or give it up. Returns the state that the job is in now.

        `charged` is what the provider's own history shows for the lost call; None leaves the money held. Raises
        `NotHeldError`, and `ValueError` for what is no amount.
        """
        if charged is not None and not is_amount(charged):
            raise ValueError(f"not an amount: {charged!s:.40}")
        with self._connection() as connection:
            return resolve(connection, job, resend=resend, charged=charged, actor="person")

    def cancel(self, *, job: UUID | None = None, batch: str | None = None) -> Cancelled:
        """Cancel the jobs that match and have not ended: free where nothing is bought yet.

        What is bought, or being bought, is followed: stored, accounted for, and ended as cancelled.
        """
        ended = followed = held = 0
        end = time.monotonic() + _CANCEL_SECONDS
        while True:
            with self._connection() as connection:
                if batch is not None:
                    self._require(connection, batch)
                done = cancel(connection, job=job, batch=batch, actor="person")
            ended, followed, held = ended + done.ended, followed + done.followed, held + done.held
            if not done.more or time.monotonic() >= end:
                return Cancelled(ended, followed, done.more, held)
            if not done.ended + done.followed:
                time.sleep(_BUSY_SECONDS)  # workers hold those that are left, for as long as a statement takes

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with transaction(self._engine) as connection:
            yield connection

    @staticmethod
    def _require(connection: Connection, batch: str) -> None:
        if not reports.batch_exists(connection, batch):
            raise NoSuchBatchError(batch)


def is_settled(totals: Mapping[str, int]) -> bool:
    """Tell whether nothing more will happen by itself: every job has ended or is held."""
    return not any(totals.get(state) for state in _UNDECIDED)


def _default_account(provider: str) -> AccountRow:
    """Return the account that a provider's jobs wait for until a worker registers it."""
    found = catalog.get(provider)
    windows = tuple(Window(requests=w.requests, seconds=w.seconds, scope=w.scope) for w in found.windows)
    return AccountRow(provider, provider, found.unit, found.concurrency, windows)
