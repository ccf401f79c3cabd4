"""What a simulator can be told: seed, time scale, accounts, and what each wire is to be like."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from ops.simulator.settings import SimulatedWireSettings, overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    """One API key with terms of its own; whatever is ``None`` follows the wire's settings.

    ``balance`` is in the provider's unit (Bloom and PostEverywhere: credits, getimg and OpenRouter: USD).
    ``plan`` "free" may not ask Bloom for 4K. ``forbidden`` is a key that lacks a permission, ``banned`` one that
    was shut, ``payment_required`` an account that has to pay first: each provider has its own words for them.
    ``spending_limit`` is what OpenRouter lets this key spend in all, in USD.
    """

    provider: str
    key: str
    balance: Decimal | None = None
    plan: str = "pro"
    banned: bool = False
    forbidden: bool = False
    payment_required: bool = False
    unlimited: bool = False
    concurrency: int | None = None
    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    generations_per_hour: int | None = None
    spending_limit: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BloomSettings(SimulatedWireSettings):
    """Bloom: credits, 120 requests a minute, redirect targets that live for minutes.

    ``envelope`` picks which of the two published error bodies is sent; ``relative_urls`` makes ``imageUrl`` a
    path.
    """

    balance: Decimal = Decimal(100_000)
    latency: tuple[float, float] = (3.0, 8.0)
    requests_per_minute: int | None = 120
    link_seconds: float = 300.0
    envelope: Literal["flat", "nested"] = "flat"
    image_format: Literal["png", "jpeg", "webp"] = "png"
    relative_urls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GetimgSettings(SimulatedWireSettings):
    """getimg: USD, one reply per request, links that die.

    ``retry_after`` adds the header to 429s; ``rate_reset`` is the unit of ``X-RateLimit-Reset``, which is not
    documented.
    """

    balance: Decimal = Decimal(10_000)
    latency: tuple[float, float] = (4.0, 9.0)
    requests_per_minute: int | None = 600
    concurrency: int | None = 50
    link_seconds: float = 600.0
    retry_after: bool = False
    rate_reset: Literal["epoch", "seconds"] = "epoch"
    expired_status: Literal[403, 404, 410] = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRouterSettings(SimulatedWireSettings):
    """OpenRouter: USD, images inside the reply, charged when the last byte of it is written.

    ``billing`` "accepted" and "completed" charge although nobody received the reply, which the vendor says it does not
    do: as the work begins, or once it is done.
    ``byok`` is a key that has the model's provider paid directly: the cost is 0, the price is told beside it.
    ``usage_frozen`` keeps the figures of ``/key`` and ``/credits`` where they stood when it was set.
    ``returns_fewer`` is by how many images a reply to n > 1 falls short. ``media_type``, ``generation_id`` and
    ``usage`` may be left out as the document allows. ``error_shape`` "typed" has no ``code``. ``availability`` goes
    with 404 and 503. ``retry_after`` and ``rate_reset`` are about its own 429s; that unit is not documented.
    """

    balance: Decimal = Decimal(10_000)
    latency: tuple[float, float] = (30.0, 94.0)
    billing: Literal["delivered", "completed", "accepted"] = "delivered"
    returns_fewer: int = 0
    media_type: bool = True
    generation_id: bool = True
    usage: Literal["cost", "without_cost", "absent"] = "cost"
    error_shape: Literal["code", "typed"] = "code"
    availability: bool = True
    retry_after: bool = False
    rate_reset: Literal["milliseconds", "epoch", "seconds"] = "milliseconds"
    byok: bool = False
    usage_frozen: bool = False
    most_body_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PostEverywhereSettings(SimulatedWireSettings):
    """PostEverywhere: credits, a media id at once and perhaps no way to its file.

    ``url`` says what media tell of it: nothing ("absent"), a signed link that dies ("url") or an open one
    ("permanent"). With ``url_lag_seconds`` (real) media are ready at once, and their links are told so much later.
    ``reply_shape``, ``status_field``, ``list_field`` and ``me_envelope`` pick between documents that disagree, and so
    does ``default_model``; ``None`` makes the model required. ``retryable`` and ``rate_code`` are about error bodies,
    ``missing_scope_status`` is how a key without the ``ai`` scope is refused.
    """

    balance: Decimal = Decimal(100_000)
    latency: tuple[float, float] = (2.0, 8.0)
    processing_seconds: tuple[float, float] = (0.5, 3.0)
    requests_per_minute: int | None = 60
    requests_per_hour: int | None = 1000
    generations_per_hour: int | None = 50
    image_format: Literal["png", "jpeg", "webp"] = "png"
    url: Literal["absent", "url", "permanent"] = "absent"
    url_lag_seconds: float = 0.0
    reply_shape: Literal["current", "older"] = "current"
    status_field: Literal["status", "media_status"] = "status"
    list_field: Literal["items", "media"] = "items"
    me_envelope: bool = True
    default_model: str | None = "nano-banana-pro"
    retryable: bool = True
    rate_code: Literal["rate_limit_exceeded", "rate_limited"] = "rate_limit_exceeded"
    missing_scope_status: Literal[401, 403] = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class BanatieSettings(SimulatedWireSettings):
    """Banatie: unbilled, a hundred requests an hour, polls among them.

    ``answer`` "early" is a pending 201 to be polled, "late" one that comes when the image is made; a late answer to
    a generation that failed has ``failure_status``. ``rate_reset`` is the unit of ``X-RateLimit-Reset``;
    ``list_meta`` puts ``meta`` into the rows of a list, ``retry_after`` the header on 429s.
    """

    balance: Decimal = Decimal(0)
    latency: tuple[float, float] = (8.0, 90.0)
    requests_per_hour: int | None = 100
    image_format: Literal["png", "jpeg", "webp"] = "png"
    answer: Literal["early", "late"] = "early"
    failure_status: Literal[201, 500] = 500
    rate_reset: Literal["seconds", "epoch"] = "seconds"
    list_meta: bool = False
    retry_after: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """Everything one simulator is told.

    ``port`` 0 takes a free one. ``pixels`` is the longest side of every picture, whatever resolution was
    asked for. ``public_url`` replaces the request's own host in links. ``key_prefix`` is what a key must
    start with to work without being listed in ``accounts``. ``faults`` is the JSON that ``PUT /_sim/faults``
    takes.
    """

    host: str = "127.0.0.1"
    port: int = 0
    time_scale: float = 20.0
    seed: int = 0
    pixels: int = 512
    public_url: str | None = None
    key_prefix: str = "sim-"
    accounts: tuple[AccountConfig, ...] = ()
    faults: Mapping[str, Any] | list[Any] = field(default_factory=dict)
    bloom: BloomSettings = field(default_factory=BloomSettings)
    getimg: GetimgSettings = field(default_factory=GetimgSettings)
    openrouter: OpenRouterSettings = field(default_factory=OpenRouterSettings)
    posteverywhere: PostEverywhereSettings = field(default_factory=PostEverywhereSettings)
    banatie: BanatieSettings = field(default_factory=BanatieSettings)
    request_log_size: int = 200_000
    state_file: Path | None = None

    def wires(self) -> dict[str, SimulatedWireSettings]:
        """Return the settings of every wire by its name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, SimulatedWireSettings)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Build a config from a JSON object with the names of the fields.

        Raises ``ValueError`` naming the key that does not exist.
        """
        values = dict(document)
        for name, settings in cls().wires().items():
            if name in values:
                values[name] = overlay(settings, values[name], name)
        if "accounts" in values:
            values["accounts"] = tuple(_account(row) for row in values["accounts"])
        if values.get("state_file"):
            values["state_file"] = Path(values["state_file"])
        return overlay(cls(), values, "config")


def _account(row: Mapping[str, Any]) -> AccountConfig:
    base = AccountConfig(provider=str(row.get("provider", "")), key=str(row.get("key", "")))
    if not base.provider or not base.key:
        raise ValueError("accounts: each entry needs a provider and a key")
    return overlay(base, row, "accounts")
