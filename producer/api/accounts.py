"""Accounts, money and providers: what an operator asks of the queue."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from producer.api.access import Caller, needs, sees_sums
from producer.api.bodies import StrictRoute
from producer.api.jobs import MOST_NAME, batch_name
from producer.api.problems import ProblemError
from producer.api.shown import Amount, Shown, answer
from shared import catalog
from shared.catalog import Parameter
from shared.tokens import Scope

router = APIRouter(tags=["operating"], route_class=StrictRoute)
_MOST_REASON: Final = 200
_SUMS: Final = "null also for a token without `money:read`, or of some batches"
_OF_ALL: Final = {"balance": None, "daily_cap": None}
"""What of an account is money of all batches together."""


class AccountShown(Shown):
    """One account: an API key at a provider. Paused, it starts no paid call; what is bought is still collected."""

    name: str
    provider: str
    unit: str
    concurrency: int = Field(description="paid calls at once")
    balance: Amount | None = Field(description=_SUMS)
    daily_cap: Amount | None = Field(description=_SUMS)
    paused_at: datetime | None
    paused_code: str | None
    paused_reason: str | None
    action_url: str | None
    seen_at: datetime | None = Field(description="when a worker with its key last ran")


class AccountsShown(Shown):
    """Every account."""

    items: list[AccountShown]


class PauseBody(BaseModel):
    """Why an account is paused, in a person's words."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = Field("paused over the API", min_length=1, max_length=_MOST_REASON, pattern=r"^[^\x00-\x1f\x7f]*$")


class PauseShown(Shown):
    """What a pause or its end did."""

    account: str
    changed: bool


class BillLine(Shown):
    """Money of one account in its unit. `unpriced` calls count as 0 in it, because nobody knows what they cost."""

    provider: str
    account: str
    unit: str
    submissions: int = Field(description="paid calls")
    accepted: int
    settled: Amount
    reserved: Amount
    held: Amount
    elsewhere: Amount
    settled_unpriced: int
    held_unpriced: int


class BillShown(Shown):
    """settled <= the providers' bill <= settled + held."""

    items: list[BillLine]


class ParameterShown(Shown):
    """One parameter of a provider, as a column of a prompt file or a member of a job."""

    field: str
    type: str
    required: bool
    minimum: int | None
    maximum: int | None
    values: list[str]
    default: str | int | bool | None
    prices: str


class ProviderShown(Shown):
    """What a provider accepts."""

    name: str
    title: str
    kind: str
    unit: str
    max_images: int
    concurrency: int
    parameters: list[ParameterShown]


class ProvidersShown(Shown):
    """Every provider."""

    items: list[ProviderShown]


@router.get("/v1/accounts", responses={200: {"model": AccountsShown}})
def list_accounts(caller: Annotated[Caller, needs(Scope.OPS)]) -> Response:
    """List the accounts as workers last wrote them.

    Their balances and caps are there for a token of all batches that has `money:read`.
    """
    hidden = {} if sees_sums(caller.token) else _OF_ALL
    items = [_of(AccountShown, {**row, **hidden}) for row in caller.client.accounts()]
    return answer(AccountsShown(items=items))


@router.post("/v1/accounts/{name}:pause", responses={200: {"model": PauseShown}})
def pause(
    caller: Annotated[Caller, needs(Scope.OPS)], name: str, body: Annotated[PauseBody | None, Body()] = None
) -> Response:
    """Stop paid calls of an account; what is already bought is still collected."""
    _require(caller, name)
    return answer(PauseShown(account=name, changed=caller.client.pause(name, (body or PauseBody()).reason)))


@router.post("/v1/accounts/{name}:resume", responses={200: {"model": PauseShown}})
def resume(caller: Annotated[Caller, needs(Scope.OPS)], name: str) -> Response:
    """Let paid calls of an account start again."""
    _require(caller, name)
    return answer(PauseShown(account=name, changed=caller.client.resume(name)))


@router.get("/v1/bill", responses={200: {"model": BillShown}})
def bill(
    caller: Annotated[Caller, needs(Scope.MONEY_READ)],
    batch: Annotated[str | None, Query(max_length=MOST_NAME, description="default: everything")] = None,
) -> Response:
    """Return what was spent, by account: of one batch or of everything, jobs that have left included."""
    if batch is None and caller.token.batch_prefix:
        raise ProblemError("batch_not_allowed", "name one of the token's batches")
    rows = caller.client.bill(None if batch is None else batch_name(caller, batch))
    return answer(BillShown(items=[_of(BillLine, row) for row in rows]))


@router.get("/v1/providers", responses={200: {"model": ProvidersShown}})
def providers(_caller: Annotated[Caller, needs(None)]) -> Response:
    """List the providers and everything that each of them accepts."""
    return answer(ProvidersShown(items=[_provider(name) for name in catalog.names()]))


def _provider(name: str) -> ProviderShown:
    found = catalog.get(name)
    parameters = [one for parameter in found.parameters for one in parameter.flat()]
    return ProviderShown(
        name=name,
        title=found.title,
        kind=found.kind,
        unit=found.unit,
        max_images=found.max_images,
        concurrency=found.concurrency,
        parameters=[_parameter(one) for one in parameters],
    )


def _parameter(parameter: Parameter) -> ParameterShown:
    members = {name: getattr(parameter, name) for name in ParameterShown.model_fields if name != "values"}
    return ParameterShown(**members, values=list(parameter.values))


def _require(caller: Caller, name: str) -> None:
    if name not in {row["name"] for row in caller.client.accounts()}:
        raise ProblemError("no_such_account")


def _of(kind: type[Any], row: Any) -> Any:
    return kind(**{name: row[name] for name in kind.model_fields})
