"""Submit: intent, one paid POST, evidence. The same worker copies links in the answer at once."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from shared.db.group_commit import WriteRefusedError
from shared.db.jobs.transitions import give_back
from shared.db.payments import intents
from shared.db.payments.intents import Intent
from shared.db.payments.ownership import OwnedElsewhereError
from shared.ids import new_id
from shared.lifecycle import JobState, Outcome
from shared.moves import Claim
from shared.notes import short_note
from worker.evidence import inline_answers, unreadable
from worker.evidence.committer import NotCommittedError
from worker.evidence.evidence_files import KeptEvidence
from worker.evidence.spill import Spill
from worker.next_step import NO_KEY_SECONDS
from worker.providers.contract import Accepted, PaidCall, Refused, RetryRule
from worker.providers.quoted_prompt import without_prompts
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.payment_terms import payment_terms
from worker.stages.settle import Answered, settle_all
from worker.stages.transfer import transfer
from worker.transport.paid_post import boot_clock

_log = structlog.get_logger(__name__)


async def submit(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Pay for as many of the claimed jobs as their account allows now. The others go back unspent."""
    account = runtime.accounts.get(account_name)
    if account is None or (not account.can_look and runtime.bucket_is_refusing):
        # Without the key nothing can be sent. Without the bucket, a result with a dying link cannot be stored.
        unspent = [JobState.QUEUED]
        await runtime.one_statement(give_back, claims, states=unspent, account=account_name, due_seconds=NO_KEY_SECONDS)
        return
    send_before = boot_clock() + runtime.settings.send_within_seconds
    opened = await _open_intents(runtime, account, claims)
    async with anyio.create_task_group() as group:
        for intent in opened:
            group.start_soon(_pay, runtime, account, intent, send_before)


async def _open_intents(runtime: Runtime, account: ServedAccount, claims: Sequence[Claim]) -> list[Intent]:
    """Write the intents. If the commit cannot be confirmed, undo them and return none."""
    wanted = {claim: new_id() for claim in claims}
    sender = runtime.sender
    try:
        terms = payment_terms(runtime, account)
        return await runtime.in_transaction(intents.open_intents, account.name, wanted, sender=sender, terms=terms)
    except Exception as error:  # noqa: BLE001 - the commit may have happened all the same: say that nothing was sent
        _log.warning("intent_failed", account=account.name, jobs=len(claims), error=type(error).__name__)
        note = "the database was lost while the intent was written"
        await runtime.write(intents.undo, account.name, wanted, note=note, actor=sender.name)
        return []


async def _pay(runtime: Runtime, account: ServedAccount, intent: Intent, send_before: float) -> None:
    """Pay and follow up. Never raises, because that would cancel the paid calls beside it."""
    with bound_contextvars(batch=str(intent.batch_id), job=str(intent.claim.job_id), account=account.name):
        try:
            await _pay_and_follow(runtime, account, intent, send_before)
        except Exception:  # noqa: BLE001 - what is not recorded here is found when the lease ends
            _log.exception("payment_defect")


async def _pay_and_follow(runtime: Runtime, account: ServedAccount, intent: Intent, send_before: float) -> None:
    answer = await _ask(runtime, account, intent, send_before)
    outcome = answer.outcome if isinstance(answer, Refused) else Outcome.ACCEPTED
    runtime.metrics.paid_calls.labels(account.name, outcome.value).inc()
    answered = Answered(runtime, account, intent, answer)
    kept = runtime.evidence.of(intent.submission_id, answered.evidence)
    try:
        after = await runtime.write_joined(settle_all, answered, kept)
    except NotCommittedError:
        _log.error("evidence_waits", submission=str(intent.submission_id), place=kept.place)
        return
    except Exception as error:  # noqa: BLE001 - the database refuses this evidence; the job must not end without a word
        runtime.evidence.trying.discard(intent.submission_id)
        _log.error("evidence_refused", submission=str(intent.submission_id), error=_kind(error), place=kept.place)
        await _set_aside(runtime, account, intent, answer, f"{_kind(error)}; {_place(kept)}")
        return
    _tell(answer)
    if after is JobState.TRANSFERRING:
        await transfer(runtime, account.name, [intent.claim])


def _tell(answer: Accepted | Refused) -> None:
    if isinstance(answer, Refused):
        _log.info("refused", outcome=answer.outcome.value, code=answer.code, status=answer.http_status)
    else:
        _log.info("accepted", images=len(answer.images))


async def _ask(runtime: Runtime, account: ServedAccount, intent: Intent, send_before: float) -> Accepted | Refused:
    """Pay once. The provider's words are kept without the prompt: they end in logs, alerts and reasons of a pause."""
    answer = await _paid(runtime, account, intent, send_before)
    if isinstance(answer, Accepted):
        return answer
    return replace(answer, message=without_prompts(answer.message, [str(intent.request.get("prompt", ""))]))


async def _paid(runtime: Runtime, account: ServedAccount, intent: Intent, send_before: float) -> Accepted | Refused:
    try:
        body = account.body(intent.request, len(intent.missing))
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing was sent
        note = str(error) if isinstance(error, ValueError) else f"a defect in the catalog ({type(error).__name__})"
        return Refused(Outcome.NOT_SENT, RetryRule.NEVER, "provider_rejected", short_note(note))
    call = PaidCall(body, send_before, str(intent.submission_id))
    try:
        if account.wire.inline:
            return await inline_answers.pay(runtime, account, intent.submission_id, call, asked=len(intent.missing))
        with closing(Spill(runtime.replies, intent.submission_id)) as spill:
            answer = await account.wire.submit(replace(call, sink=spill))
            return await unreadable.kept(runtime, intent.submission_id, answer, spill)
    except Exception as error:  # noqa: BLE001 - a defect of ours after the POST must not lose what it may have bought
        _log.exception("wire_defect")
        note = f"a defect in the wire ({type(error).__name__})"
        return Refused(Outcome.UNKNOWN, RetryRule.NEVER, "answer_unreadable", note)


def _kind(error: Exception) -> str:
    """Name a fault without its message, because other libraries' messages may contain values."""
    return str(error) if isinstance(error, WriteRefusedError | OwnedElsewhereError) else type(error).__name__


def _place(kept: KeptEvidence) -> str:
    if kept.place is None:
        return "it could not be kept outside the database"
    return f"it is kept in {kept.place}, and recorded when a worker starts there"


async def _set_aside(
    runtime: Runtime, account: ServedAccount, intent: Intent, answer: Accepted | Refused, why: str
) -> None:
    """Hold a job whose evidence the database refuses permanently; the evidence lies outside the database."""
    note = f"the answer cannot be recorded ({why})"
    if isinstance(answer, Accepted):
        ids = [answer.upstream_id, *(image.upstream_id for image in answer.images)]
        note += f"; it named {', '.join(dict.fromkeys(filter(None, ids))) or 'no id'}"
    held = Refused(Outcome.UNKNOWN, RetryRule.NEVER, "answer_unreadable", short_note(note))
    await runtime.write_joined(settle_all, Answered(runtime, account, intent, held))
