"""The road of a job without network and clock: each step is what the worker's stage writes, told what it learned."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle
from uuid import UUID

from shared.db import accounts, pauses, workers
from shared.db.engine import transaction
from shared.db.jobs import claims, images, retry, stored_images
from shared.db.jobs.cancel import Cancelled, cancel
from shared.db.jobs.resolve import resolve
from shared.db.jobs.stored_images import StoredImage, StoredObject
from shared.db.jobs.transitions import Claim, give_back, renew
from shared.db.payments import intents
from shared.db.payments.intents import Intent, PaymentTerms, Sender
from shared.ids import new_id
from shared.images import ImageChange
from shared.lifecycle import POLLED, ImageState, JobState, Stage
from tests.support import rows
from worker import dispatch
from worker.claiming import RELEASABLE
from worker.next_step import CopyWait
from worker.providers.contract import Accepted, Refused, UpstreamImage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages import poll, transfer
from worker.stages.follow_evidence import follow_evidence
from worker.stages.look_requests import Looks
from worker.stages.poison import end_poison
from worker.stages.settle import Answered, settle_all

_WAIT = 10_000.0
_STORED = StoredObject("b", "k", b"\1" * 32, 1, "image/png", 1, 1)
ACCOUNT = "bloom"
POLLED_PROVIDERS = ("bloom",)


@dataclass(frozen=True)
class Message:
    """What a worker holds once the dispatcher has claimed a job for a stage; it may be late, or come twice."""

    stage: Stage
    claim: Claim


class Road:
    """Every step commits by itself and returns what its caller would know."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.engine = runtime.engine
        self.account: ServedAccount = runtime.accounts[ACCOUNT]
        self._held: dict[tuple[Claim, int], StoredImage] = {}
        rows.register(self.engine, rows.account_row(ACCOUNT))

    def add(self, custom_id: str, count: int) -> UUID:
        rows.add(self.engine, [rows.new_job(custom_id, n=count)], accounts=[ACCOUNT])
        (row,) = rows.rows(self.engine, "SELECT id FROM job WHERE custom_id = :name", name=custom_id)
        return UUID(str(row.id))

    def tick(self, worker: str) -> tuple[list[Message], list[UUID]]:
        """Claim what is due in every stage, as a dispatcher does; also the jobs that were held or ended as poison."""
        messages, poison = [], []
        with transaction(self.engine) as connection:
            locked = accounts.lock(connection, ACCOUNT, wait=True)
            assert locked is not None
            for stage in Stage:
                if stage is Stage.SUBMIT and not locked.may_pay:
                    continue
                found = claims.claim(connection, stage, ACCOUNT, count=2, worker=worker, lease_seconds=_WAIT)
                alone = end_poison(connection, self.runtime, found.suspects)
                messages += [Message(stage, claim) for claim in (*found.together, *alone)]
                poison += [one.claim.job_id for one in found.suspects if one.claim not in alone]
        return self._hold(messages), poison

    def begin(self, message: Message, worker: str) -> None:
        """Take a message's job in hand, as a worker does before its stage runs."""
        with transaction(self.engine) as connection:
            claims.begin(connection, ACCOUNT, [message.claim], states=RELEASABLE[message.stage], worker=worker)

    def intend(self, claim: Claim, submission_id: UUID, price: Decimal | None, worker: str) -> Intent | None:
        terms = PaymentTerms(
            price=lambda _request, _count: price,
            allow_unknown_price=True,
            send_within_seconds=_WAIT,
            lease_seconds=_WAIT,
            quiet_seconds=_WAIT,
        )
        wanted = {claim: submission_id}
        with transaction(self.engine) as connection:
            found = intents.open_intents(connection, ACCOUNT, wanted, sender=Sender(worker, 1), terms=terms)
        return found[0] if found else None

    def take_back(self, claim: Claim, submission_id: UUID) -> None:
        with transaction(self.engine) as connection:
            intents.undo(connection, ACCOUNT, {claim: submission_id}, note="lost", actor="a")

    def answer(self, intent: Intent, answer: Accepted | Refused) -> Message | None:
        """Settle as a sender does; returns the transfer that it goes on with at once."""
        with transaction(self.engine) as connection:
            (after,) = settle_all(connection, [Answered(self.runtime, self.account, intent, answer)])
        return (
            next(iter(self._hold([Message(Stage.TRANSFER, intent.claim)]))) if after is JobState.TRANSFERRING else None
        )

    def poll(self, claim: Claim, states: Sequence[ImageState | None]) -> None:
        """Have the provider say of each picture what `states` says at its index; None is missing from the page."""
        with transaction(self.engine) as connection:
            found = images.of_claims(connection, account=ACCOUNT, claims=[claim], states=POLLED)
        looks = Looks()
        for one, state in zip(found, cycle(states), strict=False):
            if one.upstream_id is not None and state is not None:
                looks.add([one.upstream_id], {one.upstream_id: upstream(state, one.upstream_id)})
        with transaction(self.engine) as connection:
            poll.write_looks(connection, self.runtime, self.account, looks, [found] if found else [])

    def copy(self, claim: Claim, states: Sequence[ImageState]) -> None:
        """Have each ready picture end as `states` says, or stay ready, and the job with them."""
        with transaction(self.engine) as connection:
            found = images.of_claims(connection, account=ACCOUNT, claims=[claim], states=[JobState.TRANSFERRING])
        self._hold([Message(Stage.TRANSFER, claim)])
        waiting = False
        for row, state in zip(found, cycle(states), strict=False):
            waiting |= row.state is ImageState.READY and state is ImageState.READY
            if row.state is ImageState.READY:
                self.copied(claim, row.index, state)
        left = CopyWait(_WAIT, "result_timeout", "slow", 1) if waiting else None
        if found:
            with transaction(self.engine) as connection:
                transfer.end_all(connection, [transfer.Copied(self.runtime, self.account, claim, left)])

    def copied(self, claim: Claim, index: int, state: ImageState) -> None:
        """Write what came of the image that was at `index` when this claim was made, however long ago that was."""
        held = self._held.get((claim, index))
        if held is None:
            return
        with transaction(self.engine) as connection:
            if state is ImageState.STORED:
                stored_images.store(connection, [held])
                return
            code = "result_expired" if state is ImageState.FAILED else None
            change = ImageChange(claim, index, held.upstream_id, state, tries=1, error_code=code)
            images.change(connection, [change])

    def _hold(self, messages: Iterable[Message]) -> list[Message]:
        """Remember the images that a worker would copy for these messages, as they are now."""
        found = list(messages)
        for message in found:
            if message.stage is Stage.TRANSFER:
                job = message.claim.job_id
                for row in rows.rows(self.engine, "SELECT * FROM image WHERE job_id = :job", job=job):
                    held = StoredImage(job, row.index, row.submission_id, row.upstream_id, _STORED)
                    self._held.setdefault((message.claim, row.index), held)
        return found

    def reconcile(self, claim: Claim) -> None:
        with transaction(self.engine) as connection:
            follow_evidence(connection, self.runtime, self.account, claim)

    def give_back(self, message: Message) -> None:
        with transaction(self.engine) as connection:
            give_back(connection, [message.claim], states=RELEASABLE[message.stage], due_seconds=2)

    def renew(self, claim: Claim) -> None:
        with transaction(self.engine) as connection:
            renew(connection, claim, lease_seconds=_WAIT)

    def sweep(self) -> None:
        with transaction(self.engine) as connection:
            dispatch.end_overdue(connection, "sweeper")
            dispatch.end_abandoned(connection, "sweeper")

    def falls_due(self, job_ids: Iterable[UUID]) -> None:
        rows.rows(
            self.engine,
            "UPDATE job SET due_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) AND due_at IS NOT NULL",
            ids=list(job_ids),
        )

    def passes(self, job_id: UUID, bound: str) -> None:
        """Let the `deadline_at` of a job pass, or its `collect_until` with everything allowed beyond it."""
        statement = f"UPDATE job SET {bound} = now() - interval '1 day' WHERE id = :id"  # noqa: S608 - a column's name
        rows.rows(self.engine, statement, id=job_id)

    def dies(self, worker: str) -> None:
        with transaction(self.engine) as connection:
            workers.heartbeat(connection, name=worker, lock_key=1, slots=1)
        rows.rows(self.engine, "UPDATE worker SET last_tick_at = now() - interval '1 hour'")
        with transaction(self.engine) as connection:
            assert list(workers.free_claims_of_dead(connection, "sweeper")) == [worker]

    def cancel(self, job_id: UUID) -> Cancelled:
        with transaction(self.engine) as connection:
            return cancel(connection, job=job_id, actor="a person")

    def resolve(self, job_id: UUID, *, resend: bool, charged: Decimal | None) -> None:
        with transaction(self.engine) as connection:
            resolve(connection, job_id, resend=resend, charged=charged, actor="a person")

    def plan(self, job_id: UUID) -> retry.RetryPlan:
        with transaction(self.engine) as connection:
            return retry.plan(connection, polled=POLLED_PROVIDERS, job=job_id)

    def retry(self, wanted: retry.RetryPlan, *, buy_again: bool) -> int:
        with transaction(self.engine) as connection:
            return retry.carry_out(
                connection,
                wanted,
                actor="a person",
                buy_again=buy_again,
                deadline_seconds=_WAIT,
                collect_seconds=_WAIT,
            )

    def pause(self) -> None:
        with transaction(self.engine) as connection:
            pauses.pause(connection, ACCOUNT, code="account_out_of_credit", reason="empty", action_url=None)

    def resume(self) -> None:
        with transaction(self.engine) as connection:
            pauses.resume(connection, ACCOUNT)


def upstream(state: ImageState, upstream_id: str | None = None) -> UpstreamImage:
    """A picture as the provider tells of it."""
    link = "https://example.com/i" if state is ImageState.READY else None
    code = "generation_failed" if state is ImageState.FAILED else None
    return UpstreamImage(state, upstream_id or str(new_id()), link, error_code=code)
