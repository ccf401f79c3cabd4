"""The part of a `Client` that adds jobs, or plans their addition."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from producer.client.batches import Batches
from producer.money import parse_caps
from producer.ordering import Costs, charge, charge_targets
from producer.plan import BatchPlan
from producer.plan import plan as planned
from producer.prompts import Format, LineFault, PreparedFile, PreparedRow, RowRules, read, read_rows
from shared import catalog
from shared.db.engine import Connection, is_kept_waiting, is_violation
from shared.db.jobs import lone_row
from shared.db.jobs.dealing import waiting_account
from shared.db.jobs.enqueue import BatchTerms, Enqueued, NewJob, enqueue, new_name_complaint, open_batch
from shared.db.jobs.insert_rows import CHUNK_ROWS
from shared.db.jobs.revisions import renew_metadata, revised
from shared.db.payments.caps import of_batch
from shared.db.payments.offer_check import OfferCheck
from shared.db.tokens import Token
from shared.notes import counted
from shared.policies import OnUnknown
from shared.prompt_rows.ids import name_complaint

if TYPE_CHECKING:
    from producer.client.purchases import Purchases

_NO_RULES: Final = RowRules()


class InvalidRowsError(Exception):
    """Some rows are wrong; nothing was enqueued. `faults` holds the first thousand of `count`."""

    def __init__(self, faults: list[LineFault], count: int) -> None:
        self.faults = faults
        self.count = count
        first = faults[0]
        super().__init__(f"{counted(count, 'fault')}, the first in row {first.line}, {first.field}: {first.message}")


def new_job(row: PreparedRow) -> NewJob:
    """Return a checked row as the database takes it, under an id of its own."""
    request, facts = row.request.decode(), row.metadata.decode()
    return NewJob(row.custom_id, row.provider, request, row.fingerprint, row.priority, facts)


class Enqueueing(Batches):
    """Rows and prompt files on their way into a batch."""

    def enqueue(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        batch: str,
        provider: str | None = None,
        on_unknown: OnUnknown | None = None,
        max_cost: Sequence[str] = (),
        rules: RowRules = _NO_RULES,
    ) -> Enqueued:
        """Add `rows` (keys as the columns of a prompt file) to `batch`; all of them, or none.

        The same rows under the same batch name add nothing the second time. `on_unknown` and `max_cost` (such as
        "getimg=10.00") apply to the batch from now on; see `BatchTerms`. A row's `metadata` is an object of your own
        facts, which its results carry; `rules` carry unknown keys there. Raises `InvalidRowsError` with every fault,
        `CapError`, and `EnqueueConflictError` if a custom_id already stands for another request.
        """
        with read_rows(rows, default_provider=provider, providers=catalog.names(), rules=rules) as prepared:
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
        rules: RowRules = _NO_RULES,
        changed: bool = False,
        token: Token | None = None,
        bounded: bool = False,
    ) -> Enqueued:
        """Add a prompt file, read once and checked whole; raises as `enqueue`, and `PromptFileError`.

        `bounded`: of a batch that is there, the terms only lower caps or set "hold"; see `BatchTerms`. With
        `local_files`, references may name files beside it, for providers that accept images inline. With `changed`, a
        row whose custom_id stands for another request is added as a new revision, such as `hero@2`.
        """
        with read(
            source,
            format=format,
            default_provider=provider,
            providers=catalog.names(),
            stdin=stdin,
            local_files=local_files,
            rules=rules,
        ) as prepared:
            terms: dict[str, Any] = {"on_unknown": on_unknown, "max_cost": max_cost, "bounded": bounded}
            return self.enqueue_prepared(prepared, batch=batch, changed=changed, token=token, **terms)

    def enqueue_prepared(  # noqa: PLR0913 - one option each
        self,
        prepared: PreparedFile,
        *,
        batch: str,
        on_unknown: OnUnknown | None = None,
        max_cost: Sequence[str] = (),
        changed: bool = False,
        token: Token | None = None,
        bounded: bool = False,
    ) -> Enqueued:
        """Add rows that were already read and checked; raises as `enqueue`. `bounded`: as for `enqueue_file`.

        New rows count against the cap of a `token`; raises `TokenCapError` if they do not fit.
        """
        if prepared.fault_count:
            raise InvalidRowsError(prepared.faults, prepared.fault_count)
        self._require_name(batch)
        caps = parse_caps(max_cost, providers=prepared.providers) if max_cost else None
        terms = BatchTerms(self.settings.deadline_seconds, self.settings.collect_seconds, on_unknown, caps, bounded)
        if terms.are_usual and prepared.count == 1 and not changed and token is None:
            added = self._add_lone_row(next(iter(prepared.rows())), batch, terms)
            if added is not None:
                return added
        if prepared.count > CHUNK_ROWS:
            self._open_for_others(batch)
        with self._connection() as connection:
            added = self._add(connection, prepared, batch, terms, changed=changed)
            if token is not None and added.added:
                charge(connection, token, prepared, added.batch_id, self._costs(connection))
            if on_unknown is not None and added.policy_changed:
                self._note_policy(connection, batch, on_unknown)
        if caps is not None:
            self._let_go(batch)
        if on_unknown is not None and added.policy_changed:
            self._look_anew(batch, on_unknown)
        return added

    def _add_lone_row(self, row: PreparedRow, batch: str, terms: BatchTerms) -> Enqueued | None:
        """Add one row in one statement; None, and nothing done, where that takes a whole enqueue."""
        try:
            # Metadata is a second statement: both belong into one transaction.
            with self._connection(autocommit=not row.metadata) as connection:
                dealt = self._places.dealing(connection)
                check = OfferCheck(connection, self._offers, dealt)
                job = new_job(*check.passing([row]))
                _raise_if_wrong(check)
                return lone_row.add(connection, self._places, batch, job, terms.times)
        except Exception as error:
            if not is_violation(error) and not is_kept_waiting(error):
                raise
            self._places.forget(batch)  # it may have left; who holds the row's name is waited for, in the batch's turn
            return None

    def _require_name(self, batch: str) -> None:
        """Raise `InvalidRowsError` if a batch that is not there may not be called so."""
        if name_complaint(batch) is None:
            return
        with self._connection() as connection:
            complaint = new_name_complaint(connection, batch)
        if complaint is not None:
            raise InvalidRowsError([LineFault(1, "batch", complaint)], 1)

    def _open_for_others(self, batch: str) -> None:
        """Make the batch of a large file at once: until it is there, nobody else could add a row to it.

        If the file is refused after all, an empty batch is left to retention.
        """
        with self._connection() as connection:
            open_batch(connection, batch)

    def count_spending(self, token: Token, purchases: "Purchases") -> None:
        """Count jobs that are paid for, for the first time or again, against a token's cap; raises `TokenCapError`."""
        with self._connection() as connection:
            charge_targets(connection, token, purchases.first, purchases.again, self._costs(connection))

    def _costs(self, connection: Connection) -> Costs:
        return Costs(self.settings, self._offers.load(connection))

    def _add(
        self,
        connection: Connection,
        prepared: PreparedFile,
        batch: str,
        terms: BatchTerms,
        *,
        changed: bool = False,
    ) -> Enqueued:
        check = OfferCheck(connection, self._offers)
        jobs: Iterable[NewJob] = map(new_job, check.passing(prepared.rows()))
        if changed:
            jobs = revised(connection, batch, jobs)
        known = [waiting_account(name) for name in prepared.providers]
        added = enqueue(connection, batch, jobs, known, terms)
        _raise_if_wrong(check)  # the rollback removes the added rows
        if changed and added.added < added.given:
            there = revised(connection, batch, map(new_job, prepared.rows()))
            added = replace(added, renewed=renew_metadata(connection, batch, there))
        return added

    def plan(  # noqa: PLR0913 - one option each
        self,
        source: Path | str,
        *,
        batch: str,
        provider: str | None = None,
        format: Format = "auto",  # noqa: A002 - the name that the command line uses
        local_files: bool = False,
        max_cost: Sequence[str] = (),
        rules: RowRules = _NO_RULES,
        changed: bool = False,
        bounded: bool = False,
    ) -> BatchPlan:
        """Return what `enqueue_file` would add and cost, how long it would take, and what is missing; changes nothing.

        Raises as `enqueue_file`, but a custom_id that stands for another request is counted as a conflict.
        """
        with read(
            source,
            format=format,
            default_provider=provider,
            providers=catalog.names(),
            local_files=local_files,
            rules=rules,
        ) as prepared:
            if prepared.fault_count:
                raise InvalidRowsError(prepared.faults, prepared.fault_count)
            self._require_name(batch)
            caps = parse_caps(max_cost, providers=prepared.providers) if max_cost else None
            with self._connection() as connection:
                check = OfferCheck(connection)
                deque(check.passing(prepared.rows()), maxlen=0)
                _raise_if_wrong(check)
                if bounded and caps:
                    caps = _lowest(caps, of_batch(connection, batch))
                return planned(
                    connection, prepared, batch=batch, settings=self.settings, max_cost=caps, changed=changed
                )


def _lowest(caps: Mapping[str, Decimal], there: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {provider: min(cap, there.get(provider, cap)) for provider, cap in caps.items()}


def _raise_if_wrong(check: OfferCheck) -> None:
    if check.faults.count:
        raise InvalidRowsError(check.faults.kept, check.faults.count)
