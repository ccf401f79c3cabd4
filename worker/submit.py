"""Submit: intent, one paid POST, evidence; links that are known at once are transferred in the same breath."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Final

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from shared.backoff import delay
from shared.db import accounts, drift, intents, submissions
from shared.db.engine import Connection
from shared.db.intents import Intent, Request
from shared.db.submissions import Answer, BoughtImage
from shared.db.transitions import Claim, Move, move, release
from shared.ids import new_id
from shared.lifecycle import IMAGE_FINAL, ImageState, JobState, Outcome
from worker import inline
from worker.bought import bought
from worker.paid_post import boot_clock
from worker.providers.contract import LONGEST_WAIT_SECONDS, Accepted, Again, PaidCall, Refused
from worker.runtime import Account, Runtime
from worker.transfer import transfer

_log = structlog.get_logger(__name__)
_NOT_HERE_SECONDS: Final = 15.0
_NOTE_CHARS: Final = 500
_UNAVAILABLE: Final = "provider_unavailable"
_MISDIRECTED: Final = "account_address_wrong"  # only a person corrects a URL


async def submit(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Pay for as many of the claimed jobs as their account allows now; the others go back unspent."""
    account = runtime.accounts.get(account_name)
    if account is None or (account.wire.poll_batch == 0 and runtime.bucket_is_refusing):
        # Without the key nothing can be sent; without the bucket a result whose link dies has no place to go.
        await runtime.sql(partial(release, claims=claims, states=[JobState.QUEUED], due_seconds=_NOT_HERE_SECONDS))
        return
    wanted = {claim: new_id() for claim in claims}
    started = boot_clock()
    try:
        terms = runtime.terms(account, partial(_price, account))
        begin = partial(intents.open_for, account=account_name, wanted=wanted, sender=runtime.sender, terms=terms)
        opened = await runtime.sql(begin)
    except Exception as error:  # noqa: BLE001 - the commit may have happened all the same: say that nothing was sent
        _log.warning("intent_failed", account=account_name, jobs=len(claims), error=type(error).__name__)
        note = "the database was lost while the intent was written"
        undo = partial(intents.take_back, account=account_name, wanted=wanted, note=note)
        await runtime.write(partial(undo, actor=runtime.sender.name))
        return
    send_before = started + runtime.settings.send_within_seconds
    async with anyio.create_task_group() as group:
        for intent in opened:
            group.start_soon(_pay, runtime, account, intent, send_before)


def _price(account: Account, request: Request, count: int) -> Decimal | None:
    """Return the price; 0 for a row that cannot be read: it is never sent, and fails by itself."""
    try:
        return account.price(request, count)
    except (ValueError, LookupError):
        return Decimal(0)


async def _pay(runtime: Runtime, account: Account, intent: Intent, send_before: float) -> None:
    """Pay and follow up; never raises, for that would cancel the neighbours, who are being paid for."""
    with bound_contextvars(batch=str(intent.batch_id), job=str(intent.claim.job_id), account=account.name):
        try:
            await _pay_and_follow(runtime, account, intent, send_before)
        except Exception:  # noqa: BLE001 - what is not recorded here is found when the lease ends
            _log.exception("payment_defect")


async def _pay_and_follow(runtime: Runtime, account: Account, intent: Intent, send_before: float) -> None:
    answer = await _ask(runtime, account, intent, send_before)
    try:
        next_move = _after(runtime, account, intent, answer)
        won = await runtime.write(partial(_settle, runtime, account, intent, answer, next_move))
    except Exception as error:  # noqa: BLE001 - the database refuses this evidence; the job must not end without a word
        _log.exception("evidence_conflict")
        await _set_aside(runtime, account, intent, answer, error)
        return
    if isinstance(answer, Refused):
        _log.info("refused", outcome=answer.outcome.value, code=answer.code, status=answer.http_status)
    else:
        _log.info("accepted", images=len(answer.images))
    if won and next_move.after is JobState.TRANSFERRING:
        await transfer(runtime, account.name, [intent.claim])


async def _ask(runtime: Runtime, account: Account, intent: Intent, send_before: float) -> Accepted | Refused:
    try:
        body = account.body(intent.request, len(intent.missing))
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing was sent
        note = str(error) if isinstance(error, ValueError) else f"a defect in the catalog ({type(error).__name__})"
        return Refused(Outcome.NOT_SENT, Again.NEVER, "provider_rejected", note[:_NOTE_CHARS])
    call = PaidCall(body, send_before, str(intent.submission_id))
    try:
        if account.wire.inline:
            return await inline.pay(runtime, account, intent.submission_id, call)
        return await account.wire.submit(call)
    except Exception as error:  # noqa: BLE001 - a defect of ours after the POST must not lose what it may have bought
        _log.exception("wire_defect")
        return Refused(
            Outcome.UNKNOWN,
            Again.NEVER,
            "answer_unreadable",
            f"a defect in the wire ({type(error).__name__})",
        )


def _after(runtime: Runtime, account: Account, intent: Intent, answer: Accepted | Refused) -> Move:
    """Decide where the job goes next."""
    if isinstance(answer, Accepted):
        here = partial(Move, intent.claim, JobState.SUBMITTING)
        return _after_purchase(runtime, account, here, bought(intent.missing, intent.request, answer.images))
    here = partial(Move, intent.claim, JobState.SUBMITTING, code=answer.code, note=answer.message)
    if answer.outcome is Outcome.UNKNOWN:
        return here(JobState.IN_DOUBT, **_doubt(runtime, account))
    if answer.again is Again.NEVER:
        return here(JobState.FAILED)
    if answer.again is Again.RESUME:
        return here(JobState.QUEUED, 0, tries=intent.tries)
    return here(JobState.QUEUED, _wait(runtime, intent, answer), tries=intent.tries + 1)


def _doubt(runtime: Runtime, account: Account) -> dict[str, Any]:
    """Say when a lost call is looked for: once the provider would show it; where it shows nothing, a person must."""
    if account.wire.find_by == "nothing":
        return {"due_seconds": runtime.settings.held_recheck_seconds, "parked": True}
    return {"due_seconds": account.quiet_after_call + account.slack_seconds}


def _after_purchase(runtime: Runtime, account: Account, here: "partial[Move]", images: Sequence[BoughtImage]) -> Move:
    if all(image.state is ImageState.FAILED for image in images):
        return here(JobState.FAILED, code=images[0].error_code, note=images[0].error)
    if all(image.state is ImageState.READY or image.state in IMAGE_FINAL for image in images):
        expiries = [image.link_expires_at for image in images if image.link_expires_at]
        return here(
            JobState.TRANSFERRING,
            runtime.transfer_lease,
            keep_claim=True,
            link_expires_at=min(expiries, default=None),
        )
    if account.wire.poll_batch == 0:
        return here(
            JobState.IN_DOUBT,
            runtime.settings.held_recheck_seconds,
            code="answer_unreadable",
            note="no links",
            parked=True,
        )
    return here(JobState.PENDING, runtime.settings.poll_first_seconds)


def _settle(
    runtime: Runtime,
    account: Account,
    intent: Intent,
    answer: Accepted | Refused,
    next_move: Move,
    connection: Connection,
) -> bool:
    """Write the evidence, whatever became of the job meanwhile, then try the transition."""
    # The account's row before the submission's: who looks for lost purchases locks them in that order too.
    _watch_for_outage(runtime, account, answer, connection)
    if isinstance(answer, Refused):
        if answer.again is Again.RESUME:
            accounts.pause(
                connection,
                account.name,
                code=answer.code,
                reason=answer.message,
                action_url=answer.action_url,
                needs=_price(account, intent.request, len(intent.missing)),
                probing=None if answer.code == _MISDIRECTED else runtime.probing,
            )
        elif answer.again is Again.AFTER:
            accounts.slow_down(connection, account.name, _wait(runtime, intent, answer))
    elif answer.remaining is not None:
        accounts.has_left(connection, account.name, answer.remaining)
    submissions.record(connection, intent.submission_id, _evidence(account, intent, answer))
    if next_move.code == _UNAVAILABLE and next_move.after is JobState.QUEUED:
        refused = submissions.refusals(connection, intent.claim.job_id, _UNAVAILABLE)
        if refused >= runtime.settings.submit_tries:
            next_move = replace(next_move, after=JobState.FAILED, due_seconds=None)
    won = bool(move(connection, [next_move], actor=runtime.sender.name))
    if not won:
        submissions.follow_late(connection, intent.claim.job_id, intent.submission_id, actor=runtime.sender.name)
    elif isinstance(answer, Refused):
        # An earlier attempt may have turned out to be bought while this one was in the air.
        submissions.collect(connection, intent.claim.job_id, actor=runtime.sender.name)
    if isinstance(answer, Accepted) and answer.remaining is not None:
        drift.record(connection, account.name, answer.remaining, own=intent.submission_id)
    return won


def _watch_for_outage(runtime: Runtime, account: Account, answer: Accepted | Refused, connection: Connection) -> None:
    """Pause an account whose provider fails call after call: each may be paid for, and each holds a job."""
    if not isinstance(answer, Refused) or answer.outcome is Outcome.REJECTED:
        accounts.trust(connection, account.name, bought=not isinstance(answer, Refused))
        return
    if answer.outcome is not Outcome.UNKNOWN:
        return
    doubts = accounts.doubt(connection, account.name)
    if doubts >= runtime.settings.doubts_before_pause:
        reason = f"{doubts} paid calls in a row brought no readable answer; the last: {answer.message}"
        accounts.pause(
            connection,
            account.name,
            code="provider_failing",
            reason=reason[:_NOTE_CHARS],
            action_url=None,
            probing=runtime.probing,
        )


def _evidence(account: Account, intent: Intent, answer: Accepted | Refused) -> Answer:
    if isinstance(answer, Refused):
        return Answer(
            answer.outcome,
            http_status=answer.http_status,
            error_code=answer.code,
            error=answer.message,
            quiet_seconds=account.quiet_after_call,
            charged_on_arrival=account.wire.find_by == "usage",
        )
    return Answer(
        Outcome.ACCEPTED,
        http_status=answer.http_status,
        upstream_id=answer.upstream_id,
        settled=answer.settled,
        stated=answer.settled is not None and answer.whole,
        images=bought(intent.missing, intent.request, answer.images),
    )


def _wait(runtime: Runtime, intent: Intent, answer: Refused) -> float:
    if answer.after_seconds is not None:
        return min(answer.after_seconds, LONGEST_WAIT_SECONDS)
    settings = runtime.settings
    return delay(
        intent.tries,
        first_seconds=settings.retry_first_seconds,
        max_seconds=settings.retry_max_seconds,
        random=runtime.random,
    )


async def _set_aside(
    runtime: Runtime, account: Account, intent: Intent, answer: Accepted | Refused, error: Exception
) -> None:
    """Hold a job whose evidence the database refuses, such as an upstream id that another submission owns."""
    note = f"the answer contradicts what is recorded already ({type(error).__name__})"
    if isinstance(answer, Accepted):
        ids = [answer.upstream_id, *(image.upstream_id for image in answer.images)]
        note += f"; it named {', '.join(dict.fromkeys(filter(None, ids))) or 'no id'}"
    held = Refused(Outcome.UNKNOWN, Again.NEVER, "answer_unreadable", note[:_NOTE_CHARS])
    step = _after(runtime, account, intent, held)
    await runtime.write(partial(_settle, runtime, account, intent, held, step))
