"""Webhooks over HTTP: who is told of what, what became of each delivery, and sending it again."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response

from producer.api.access import Caller, needs
from producer.api.bodies import StrictRoute
from producer.api.paths import NAME
from producer.api.problems import ProblemError
from producer.api.shown import Shown, answer
from shared.settings import SettingsError
from shared.tokens import Scope
from shared.webhook_urls import url_complaint
from shared.webhooks import FEW, parse_types

router = APIRouter(tags=["webhooks"], route_class=StrictRoute)
Hooks = Annotated[Caller, needs(Scope.HOOKS)]
T = TypeVar("T")
_MOST_URL: Final = 2000
_MOST_SHOWN: Final = 1000
_OF_BATCHES: Final = ("job.", "batch.")
_ONLY_OF_BATCHES: Final = "this token is limited to some batches, so its webhooks may only name job and batch events"


class WebhookBody(BaseModel):
    """Where events go, which, and of which batches."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(max_length=_MOST_URL, pattern=r"^https?://[^\s\x00-\x1f\x7f]+$")
    events: list[str] | None = Field(
        None, min_length=1, max_length=20, description="names or patterns such as `job.*`; default: all but job ends"
    )
    batch_prefix: str | None = Field(
        None, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$", description="default: the token's own"
    )

    @field_validator("url")
    @classmethod
    def _can_be_posted_to(cls, url: str) -> str:
        """Refuse what no worker could ever post to."""
        if complaint := url_complaint(url):
            raise ValueError(f"a webhook's URL {complaint}")
        return url


class ReplayBody(BaseModel):
    """Which ended deliveries are sent again; each keeps its id."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime
    until: AwareDatetime
    only_failed: bool = True


class WebhookShown(Shown):
    """One endpoint. `disabled_code`: why it is switched off; `waiting` counts deliveries, at most 1000."""

    id: UUID
    url: str
    types: list[str]
    batch_prefix: str
    created_at: datetime
    failures: int = Field(description="in a row")
    disabled_at: datetime | None
    disabled_code: str | None
    waiting: int
    delivered_at: datetime | None


class WebhooksShown(Shown):
    """The endpoints, oldest first."""

    items: list[WebhookShown]


class SecretShown(Shown):
    """An endpoint's secret, with which its receiver verifies what it gets. It cannot be read again."""

    id: UUID
    secret: str


class DeliveryShown(Shown):
    """One delivery, with what its last try came to."""

    id: UUID
    type: str
    job_id: UUID | None
    created_at: datetime
    tries: int
    status: int | None
    error: str | None
    milliseconds: int | None
    delivered_at: datetime | None
    due_at: datetime | None


class DeliveriesShown(Shown):
    """Deliveries, newest first."""

    items: list[DeliveryShown]


class ReplayShown(Shown):
    """How many deliveries will be sent again."""

    again: int


class ChangedShown(Shown):
    """Which endpoint was changed."""

    id: UUID


@router.get("/v1/webhooks", responses={200: {"model": WebhooksShown}})
def list_webhooks(caller: Hooks) -> Response:
    """List the endpoints of the token's batches."""
    items = [_of(WebhookShown, row) for row in caller.client.webhooks() if caller.token.covers(row["batch_prefix"])]
    return answer(WebhooksShown(items=items))


@router.post("/v1/webhooks", status_code=201, responses={201: {"model": SecretShown}})
def add_webhook(caller: Hooks, body: WebhookBody) -> Response:
    """Tell a URL of events from now on. Workers refuse private addresses when they send."""
    prefix = caller.token.batch_prefix if body.batch_prefix is None else body.batch_prefix
    if not caller.token.covers(prefix):
        raise ProblemError("batch_not_allowed", "the webhook's batch_prefix does not begin with the token's")
    types = _types(caller, body.events)
    made = _keyed(lambda: caller.client.add_webhook(body.url, types=types, batch_prefix=prefix))
    return answer(SecretShown(id=made.id, secret=made.secret.get_secret_value()), status=201)


@router.delete(f"/v1/webhooks/{{webhook_id:{NAME}}}", responses={200: {"model": ChangedShown}})
def remove_webhook(caller: Hooks, webhook_id: UUID) -> Response:
    """Delete an endpoint with its deliveries."""
    return answer(ChangedShown(id=caller.client.remove_webhook(_own(caller, webhook_id))))


@router.post("/v1/webhooks/{webhook_id}:resume", responses={200: {"model": ChangedShown}})
def resume_webhook(caller: Hooks, webhook_id: UUID) -> Response:
    """Switch an endpoint on again, and send what waited."""
    return answer(ChangedShown(id=caller.client.resume_webhook(_own(caller, webhook_id))))


@router.post("/v1/webhooks/{webhook_id}:rotate", responses={200: {"model": SecretShown}})
def rotate_webhook(caller: Hooks, webhook_id: UUID) -> Response:
    """Give an endpoint a new secret. For a day the old one signs too."""
    name = _own(caller, webhook_id)
    secret = _keyed(lambda: caller.client.rotate_webhook(name))
    return answer(SecretShown(id=webhook_id, secret=secret.get_secret_value()))


@router.get("/v1/webhooks/{webhook_id}/deliveries", responses={200: {"model": DeliveriesShown}})
def list_deliveries(
    caller: Hooks,
    webhook_id: UUID,
    *,
    failed: Annotated[bool, Query(description="only those that failed")] = False,
    limit: Annotated[int, Query(ge=1, le=_MOST_SHOWN)] = 50,
) -> Response:
    """List the newest deliveries of an endpoint."""
    rows = caller.client.webhook_deliveries(_own(caller, webhook_id), only_failed=failed, limit=limit)
    return answer(DeliveriesShown(items=[_of(DeliveryShown, row) for row in rows]))


@router.post("/v1/webhooks/{webhook_id}:replay", responses={200: {"model": ReplayShown}})
def replay(caller: Hooks, webhook_id: UUID, body: ReplayBody) -> Response:
    """Send the ended deliveries of a span again."""
    name = _own(caller, webhook_id)
    again = caller.client.replay_span(name, body.since, body.until, only_failed=body.only_failed)
    return answer(ReplayShown(again=again))


def _keyed(act: Callable[[], T]) -> T:
    """Do what needs the key from which the secrets of webhooks are derived."""
    try:
        return act()
    except SettingsError as error:
        raise ProblemError("webhooks_off", str(error)) from None


def _types(caller: Caller, events: list[str] | None) -> tuple[str, ...]:
    """Return the event types; a token of some batches gets no events of accounts."""
    try:
        types = parse_types(events or FEW)
    except ValueError as error:
        raise ProblemError("request_invalid", str(error)) from None
    if not caller.token.batch_prefix:
        return types
    own = tuple(one for one in types if one.startswith(_OF_BATCHES))
    if events and own != types:
        raise ProblemError("batch_not_allowed", _ONLY_OF_BATCHES)
    return own


def _own(caller: Caller, webhook_id: UUID) -> str:
    """Return the id of an endpoint that the token may touch."""
    rows = caller.client.webhooks()
    if not any(row["id"] == webhook_id and caller.token.covers(row["batch_prefix"]) for row in rows):
        raise ProblemError("no_such_webhook")
    return str(webhook_id)


def _of(kind: type[Any], row: Mapping[str, Any]) -> Any:
    return kind(**{name: row[name] for name in kind.model_fields})
