"""The part of a `Client` that adds single rows: one alone, or those of many callers in one transaction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from producer.client.enqueueing import Enqueueing, InvalidRowsError, new_job
from producer.ordering import charge_orders
from producer.prompts import LineFault, PreparedRow, read_row
from shared import catalog
from shared.db.engine import Connection, DatabaseUnavailableError, is_kept_waiting, is_violation
from shared.db.jobs import singles
from shared.db.jobs.enqueue import EnqueueConflictError
from shared.db.jobs.insert_rows import JobTimes
from shared.db.jobs.singles import Destinations, StandingJob
from shared.db.payments.offer_check import OfferCheck
from shared.db.read.job import JobFacts
from shared.db.tokens import Token

_TRIES: Final = 2


class BatchBusyError(DatabaseUnavailableError):
    """A file is being added to the batch, perhaps with a row of the same custom_id; send the same row again."""

    def __init__(self, batch: str) -> None:
        super().__init__(f"a file is being added to batch {batch!r}, perhaps with this row: send it again")


class Order(NamedTuple):
    """A checked row on its way into a batch; it counts against the cap of its token."""

    row: PreparedRow
    batch: str
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class EnqueuedJob:
    """The job of one row; `is_new` is false if the same row was there before."""

    facts: JobFacts
    is_new: bool

    @property
    def id(self) -> UUID:
        """The job's id."""
        found: UUID = self.facts.job["id"]
        return found


def checked(row: Mapping[str, Any], provider: str | None = None) -> PreparedRow:
    """Return a row as its provider can do it; raises `InvalidRowsError`. `provider` is that of a row without one."""
    prepared, faults = read_row(row, default_provider=provider, providers=catalog.names())
    if prepared is None:
        raise InvalidRowsError(faults.kept, faults.count)
    return prepared


class Singles(Enqueueing):
    """Single rows on their way into batches."""

    def enqueue_one(
        self, row: Mapping[str, Any], *, batch: str, provider: str | None = None, token: Token | None = None
    ) -> EnqueuedJob:
        """Add one row to `batch` and return its job, also if it is there already.

        Give it a custom_id: without one, the row is another job each time. Raises as `enqueue`, `TokenCapError` if a
        new row does not fit under the cap of `token`, and `BatchBusyError`.
        """
        return self.add_alone(Order(checked(row, provider), batch, token))

    def add_alone(self, order: Order) -> EnqueuedJob:
        """Add a row in a transaction of its own, beside a file on its way into the batch; raises as `enqueue_one`.

        If that file has a row of the same custom_id, this waits for the file, some seconds at most.
        """
        for _ in range(_TRIES):
            try:
                found = self._alone(order)
            except DatabaseUnavailableError as error:
                if is_kept_waiting(error):
                    raise BatchBusyError(order.batch) from error
                raise
            except Exception as error:
                if not is_violation(error):  # its batch or its job has left the database at this moment
                    raise
            else:
                if found is not None:
                    return found
        raise BatchBusyError(order.batch)

    def _alone(self, order: Order) -> EnqueuedJob | None:
        self._require_name(order.batch)
        with self._connection() as connection:
            (found,) = self._added(connection, [order], together=False)
            if isinstance(found, Exception):
                raise found
            return found

    def add_together(self, orders: Sequence[Order]) -> list[EnqueuedJob | Exception]:
        """Add rows in one transaction and return the job of each, or why it has none.

        A row gets `BatchBusyError` if only `add_alone` may add it. Raises `DatabaseUnavailableError`; then each row may
        or may not have been added, and sending the same order again finds out.
        """
        try:
            return self._together(orders)
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - nothing was added; whose fault it was is found out one by one
            return [error] if len(orders) == 1 else [self._outcome(order) for order in orders]

    def _together(self, orders: Sequence[Order]) -> list[EnqueuedJob | Exception]:
        for order in orders:
            self._require_name(order.batch)
        with self._connection() as connection:
            found = self._added(connection, orders, together=True)
        return [one or BatchBusyError(order.batch) for order, one in zip(orders, found, strict=True)]

    def _outcome(self, order: Order) -> EnqueuedJob | Exception:
        try:
            return self._together([order])[0]
        except Exception as error:  # noqa: BLE001 - handed back to the one who sent this order
            return error

    def _added(
        self, connection: Connection, orders: Sequence[Order], *, together: bool
    ) -> list[EnqueuedJob | Exception | None]:
        """Add what can be added; None for a job that left the database meanwhile. Raises `TokenCapError`."""
        batches, providers = [one.batch for one in orders], [one.row.provider for one in orders]
        destinations = singles.destinations(connection, batches, providers, together=together)
        check = OfferCheck(connection, self._offers, destinations.dealing)
        refused = [_refusal(order, destinations, check) for order in orders]
        fine = [order for order, why in zip(orders, refused, strict=True) if why is None]
        done = iter(self._add_and_charge(connection, destinations, fine) if fine else ())
        return [why or next(done) for why in refused]

    def _add_and_charge(
        self, connection: Connection, destinations: Destinations, orders: Sequence[Order]
    ) -> Iterator[EnqueuedJob | Exception | None]:
        """Add rows, and count those that are new against the caps of their tokens; raises `TokenCapError`."""
        times = JobTimes(self.settings.deadline_seconds, self.settings.collect_seconds)
        rows = [(order.batch, new_job(order.row)) for order in orders]
        standing = singles.add(connection, destinations, rows, times)
        self._charge_new(connection, orders, standing)
        return map(_said, orders, standing)

    def _charge_new(
        self, connection: Connection, orders: Sequence[Order], standing: Sequence[StandingJob | None]
    ) -> None:
        new = [
            (order.token, order.row, one.facts.job["account"])
            for order, one in zip(orders, standing, strict=True)
            if one is not None and one.is_new and order.token is not None and order.token.caps is not None
        ]
        if new:
            charge_orders(connection, new, self._costs(connection))


def _refusal(order: Order, destinations: Destinations, check: OfferCheck) -> Exception | None:
    if order.batch in destinations.busy:
        return BatchBusyError(order.batch)
    if faults := check.faults_of(order.row):
        return InvalidRowsError([LineFault(order.row.line, *fault) for fault in faults], len(faults))
    return None


def _said(order: Order, standing: StandingJob | None) -> EnqueuedJob | Exception | None:
    if standing is None:
        return None
    if not standing.is_same:
        return EnqueueConflictError(order.batch, [order.row.custom_id])
    return EnqueuedJob(standing.facts, standing.is_new)
