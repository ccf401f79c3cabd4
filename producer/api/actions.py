"""What a person decides about jobs: cancel, retry, resolve; each shown first by a dry run, which prints a confirmation.

Whatever may pay a second time needs the scope `money:spend`, and the confirmation of a dry run: then exactly the jobs
that were shown are acted on. To say that a lost call was charged nothing needs that scope too.
"""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from producer.api.access import Caller, needs
from producer.api.bodies import StrictRoute
from producer.api.dry_run import DoneShown, DryRun, How, HowAsked, Planned, told
from producer.api.jobs import batch_name
from producer.api.paths import NAME
from producer.api.problems import ProblemError
from producer.api.shown import Amount, Shown, answer
from producer.client.purchases import of_resolve, of_retry
from producer.client.steering import MOST_DEADLINE, PRIORITY_MAX, PRIORITY_MIN
from producer.money import amount_in, parse_caps
from shared import catalog
from shared.policies import OnUnknown
from shared.tokens import Scope

router = APIRouter(tags=["deciding"], route_class=StrictRoute)
_PAID_BEFORE: Final = "bought before; `buy_again` pays a second time"

_ARRIVING: Final = "rows that came by SQL wait for a worker: send the same request again, or hold the batch"


class FilterBody(BaseModel):
    """Which jobs of a batch are meant; for one job, nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    error_code: str | None = Field(None, max_length=100, pattern=r"^[a-z_]+$")


class RetryBody(FilterBody):
    """`buy_again`: also buy jobs that were bought before and can no longer be collected."""

    buy_again: bool = False


class ResolveBody(FilterBody):
    """What becomes of held jobs whose answer was lost. `charged`: what the provider charged for each lost call."""

    decision: Literal["resend", "fail"]
    charged: str | None = Field(None, max_length=40, description="an amount such as 0.035; leave out if unknown")


class BatchTermsBody(BaseModel):
    """New terms of a batch. `max_cost` by provider in its unit; the caps of other providers stay."""

    model_config = ConfigDict(extra="forbid", strict=True)

    on_unknown: OnUnknown | None = None
    max_cost: dict[str, str] | None = Field(None, min_length=1, max_length=20)
    uncap: bool = Field(default=False, description="removes every cap of the batch; then nothing bounds what it spends")
    priority: int | None = Field(None, ge=PRIORITY_MIN, le=PRIORITY_MAX)
    deadline_seconds: float | None = Field(
        None, gt=0, le=MOST_DEADLINE, allow_inf_nan=False, description="from now; then its queued jobs buy nothing"
    )

    @model_validator(mode="after")
    def _either(self) -> Self:
        """Refuse a body that sets caps and removes them."""
        if self.uncap and self.max_cost is not None:
            raise ValueError("give max_cost, or uncap")
        return self


class SteeredShown(Shown):
    """Whether a batch is held now, and how many jobs that moved out of the line or back into it."""

    name: str
    held: bool
    jobs: int


class BatchTermsShown(Shown):
    """The terms of a batch now."""

    name: str
    on_unknown: str
    max_cost: dict[str, Amount]


@router.post("/v1/jobs/{job_id}:cancel", responses={200: {"model": DoneShown | Planned}})
def cancel_job(caller: Annotated[Caller, needs(Scope.JOBS_WRITE)], job_id: UUID, how: How) -> Response:
    """Cancel a job: free if nothing is bought yet; otherwise its purchase is stored, and the job ends as cancelled."""
    caller.checked_job(job_id)
    return _cancel(caller, {"job": job_id}, how)


@router.post("/v1/batches/{name}:cancel", responses={200: {"model": DoneShown | Planned}})
def cancel_batch(
    caller: Annotated[Caller, needs(Scope.JOBS_WRITE)],
    name: str,
    how: How,
    body: Annotated[FilterBody | None, Body()] = None,
) -> Response:
    """Cancel every job of a batch that has not ended."""
    which = {"batch": batch_name(caller, name), "code": body.error_code if body else None}
    return _cancel(caller, which, how)


@router.post("/v1/jobs/{job_id}:retry", responses={200: {"model": DoneShown | Planned}})
def retry_job(
    caller: Annotated[Caller, needs(Scope.JOBS_WRITE)],
    job_id: UUID,
    how: How,
    body: Annotated[RetryBody | None, Body()] = None,
) -> Response:
    """Try a failed job again: a bought one is collected, free; one that is not bought is bought."""
    caller.job(job_id)
    return _retry(caller, {"job": job_id}, body or RetryBody(), how)


@router.post("/v1/batches/{name}:retry", responses={200: {"model": DoneShown | Planned}})
def retry_batch(
    caller: Annotated[Caller, needs(Scope.JOBS_WRITE)],
    name: str,
    how: How,
    body: Annotated[RetryBody | None, Body()] = None,
) -> Response:
    """Try every failed job of a batch again, or those with one error code."""
    wanted = body or RetryBody()
    which = {"batch": batch_name(caller, name), "code": wanted.error_code}
    return _retry(caller, which, wanted, how)


@router.post("/v1/jobs/{job_id}:resolve", responses={200: {"model": DoneShown | Planned}})
def resolve_job(
    caller: Annotated[Caller, needs(Scope.OPS)],
    job_id: UUID,
    body: Annotated[ResolveBody, Body()],
    how: How,
) -> Response:
    """End a held job whose answer was lost, after a look at the provider's own history.

    `resend` may pay a second time, and `"charged": "0"` lets a later retry do so: both need `money:spend` too.
    """
    caller.job(job_id)
    return _resolve(caller, {"job": job_id}, body, how)


@router.post("/v1/batches/{name}:resolve", responses={200: {"model": DoneShown | Planned}})
def resolve_batch(
    caller: Annotated[Caller, needs(Scope.OPS)],
    name: str,
    body: Annotated[ResolveBody, Body()],
    how: How,
) -> Response:
    """End every held job of a batch whose answer was lost, or those with one error code.

    `resend` and `"charged": "0"` need `money:spend` too.
    """
    which = {"batch": batch_name(caller, name), "code": body.error_code}
    return _resolve(caller, which, body, how)


@router.post("/v1/batches/{name}:hold", responses={200: {"model": SteeredShown}})
def hold_batch(caller: Annotated[Caller, needs(Scope.JOBS_WRITE)], name: str) -> Response:
    """Buy nothing more for a batch until it is released; what was bought already is collected."""
    batch = batch_name(caller, name)
    return answer(SteeredShown(name=batch, held=True, jobs=caller.client.hold(batch)))


@router.post("/v1/batches/{name}:release", responses={200: {"model": SteeredShown}})
def release_batch(caller: Annotated[Caller, needs(Scope.JOBS_WRITE)], name: str) -> Response:
    """Let a held batch go on."""
    batch = batch_name(caller, name)
    return answer(SteeredShown(name=batch, held=False, jobs=caller.client.release(batch)))


@router.patch(f"/v1/batches/{{name:{NAME}}}", responses={200: {"model": BatchTermsShown}})
def change_batch(
    caller: Annotated[Caller, needs(Scope.JOBS_WRITE)], name: str, body: Annotated[BatchTermsBody, Body()]
) -> Response:
    """Change the priority or the deadline of a batch, what it may spend, and what happens to its lost calls.

    `max_cost`, `uncap` and `on_unknown` need `money:spend` too: `resend` may pay a second time for each lost call.
    """
    batch = batch_name(caller, name)
    if (body.uncap or (body.max_cost, body.on_unknown) != (None, None)) and not caller.token.allows(Scope.MONEY_SPEND):
        raise ProblemError("scope_missing", f"max_cost, uncap and on_unknown need the scope {Scope.MONEY_SPEND}")
    caps = [f"{provider}={amount}" for provider, amount in (body.max_cost or {}).items()]
    parse_caps(caps, providers=catalog.names())  # before the first change: what is refused changes nothing
    if body.priority is not None:
        caller.client.set_priority(batch, body.priority)
    if body.deadline_seconds is not None:
        caller.client.set_deadline(batch, body.deadline_seconds)
    if caps:
        caller.client.cap(batch, caps)
    if body.uncap:
        caller.client.uncap(batch)
    if body.on_unknown is not None:
        caller.client.set_policy(batch, body.on_unknown)
    facts = caller.client.batch(batch)
    return answer(BatchTermsShown(name=batch, on_unknown=facts.row["on_unknown"], max_cost=facts.caps))


def _cancel(caller: Caller, which: dict[str, Any], how: HowAsked) -> Response:
    plan = caller.client.plan_cancel(**which)
    planned = DryRun(plan.act, plan.targets, plan.at, plan.left)
    if how.dry_run:
        return answer(planned.shown())
    planned.require(caller, how.confirm)
    done = caller.client.carry_out_cancel(plan)
    if plan.which.batch is not None and caller.client.is_arriving(plan.which.batch):
        raise ProblemError("not_checked_yet", f"{done.jobs.total():,} cancelled; {_ARRIVING}")
    return told(done)


def _retry(caller: Caller, which: dict[str, Any], body: RetryBody, how: HowAsked) -> Response:
    plan = caller.client.plan_retry(**which)
    targets = plan.of(buy_again=body.buy_again)
    left = len(plan.targets) - len(targets)
    planned = DryRun("retry", targets, plan.at, [(_PAID_BEFORE, left)] if left else [], of_retry(targets))
    if how.dry_run:
        return answer(planned.shown())
    planned.require(caller, how.confirm)
    return told(caller.client.carry_out_retry(plan, buy_again=body.buy_again))


def _resolve(caller: Caller, which: dict[str, Any], body: ResolveBody, how: HowAsked) -> Response:
    resend = body.decision == "resend"
    charged = charged_of(body.charged)
    try:
        wanted = caller.client.plan_resolve(resend=resend, charged=charged, **which)
    except ValueError as error:
        raise ProblemError("request_invalid", str(error)) from None
    plan = wanted.plan
    planned = DryRun(plan.act, plan.targets, plan.at, plan.left, of_resolve(wanted))
    if how.dry_run:
        return answer(planned.shown())
    if not plan.targets:
        raise ProblemError("not_held", "no held job matches")
    planned.require(caller, how.confirm)
    return told(caller.client.carry_out_resolve(wanted))


def charged_of(given: str | None) -> Decimal | None:
    """Return the amount that a body names; raises `ProblemError` unless it is one."""
    amount = None if given is None else amount_in(given)
    if given is not None and amount is None:
        raise ProblemError("request_invalid", "charged must be an amount such as 0.035, in the account's unit")
    return amount
