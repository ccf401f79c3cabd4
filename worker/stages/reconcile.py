"""Reconcile: finds out what happened to a paid call whose sender is gone or whose answer was lost. It never pays.

It looks for evidence in this order: the recorded submission, a reply in our own bucket, the provider's own list or
usage figure. If none of them settles the call, the job is held for a person.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from shared.db.jobs.transitions import give_back, renew
from shared.db.lost_calls import candidates
from shared.db.lost_calls.candidates import Candidate
from shared.db.payments import submissions
from shared.lifecycle import Outcome
from shared.moves import Claim
from worker.evidence import unreadable
from worker.evidence.inline_answers import recover
from worker.evidence.recommit import recommit_for
from worker.lost_calls import usage
from worker.lost_calls.judgement import Unclear
from worker.lost_calls.read_list import look
from worker.providers.contract import Listed
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.follow_evidence import MAYBE_BOUGHT, follow_evidence
from worker.stages.follow_provider import follow_provider

_log = structlog.get_logger(__name__)
_LEASE_SECONDS: Final = 300.0  # one job's look-up, at thirty seconds a request


async def reconcile(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Move each claimed job to where its newest submission's evidence puts it, or hold it."""
    for claim in claims:
        with bound_contextvars(job=str(claim.job_id), account=account_name):
            try:
                if await runtime.one_statement(renew, claim, lease_seconds=_LEASE_SECONDS, account=account_name):
                    await _reconcile(runtime, account_name, claim)
            except Exception:  # noqa: BLE001 - this one is looked at again; the others must not wait for it
                _log.exception("reconcile_defect")
                await _give_back(runtime, account_name, claim)


async def _give_back(runtime: Runtime, account_name: str, claim: Claim) -> None:
    """Give back the claim of a failed look. If its lease ended first, it would seem that its worker died."""
    wait = runtime.settings.retry_max_seconds
    try:
        await runtime.one_statement(
            give_back, [claim], states=MAYBE_BOUGHT, account=account_name, due_seconds=wait, done=True
        )
    except Exception as error:  # noqa: BLE001 - the database is away; the lease ends by itself
        _log.warning("look_not_given_back", error=type(error).__name__)


async def _reconcile(runtime: Runtime, account_name: str, claim: Claim) -> None:
    account = runtime.accounts.get(account_name)
    await recommit_for(runtime, await runtime.in_transaction(submissions.latest, claim.job_id))
    if account is None:
        await runtime.in_transaction(follow_evidence, runtime, None, claim)
        return
    await _read_own_bucket(runtime, account, claim)
    call = await runtime.in_transaction(follow_evidence, runtime, account, claim)
    if call is not None:
        by_usage = account.wire.find_by == "usage"
        found = await (usage.read(runtime, account) if by_usage else look(runtime, account, call))
        judgement = await runtime.in_transaction(follow_provider, runtime, account, claim, call.submission_id, found)
        if isinstance(judgement, Unclear) and judgement.candidates:
            await _note_candidates(runtime, account_name, call.submission_id, judgement.candidates)


async def _note_candidates(runtime: Runtime, account: str, submission_id: UUID, rows: Sequence[Listed]) -> None:
    """Record what a person may compare. The decision is committed already, and nothing here can change it."""
    found = [Candidate(row.upstream_id, row.made_at) for row in rows if row.upstream_id]
    try:
        await runtime.in_transaction(candidates.note, account, submission_id, found)
    except Exception as error:  # noqa: BLE001 - the person decides without them
        _log.warning("candidates_not_noted", error=type(error).__name__)


async def _read_own_bucket(runtime: Runtime, account: ServedAccount, claim: Claim) -> None:
    """Record an answer that was kept but not committed, because it is the best evidence."""
    if not account.wire.inline:
        await unreadable.read_again(runtime, account, claim.job_id)
        return
    submission = await runtime.in_transaction(submissions.latest, claim.job_id)
    ours = submission is not None and submission.account == account.name
    if submission is not None and ours and submission.outcome in {None, Outcome.UNKNOWN}:
        await recover(runtime, account, submission.id)
