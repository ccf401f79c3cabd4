"""What a simulator can be told before it starts: seed, time scale, accounts, and each wire's limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

_T = TypeVar("_T", bound=Any)
_AMOUNTS = {"balance", "spending_limit"}
_SPANS = {"latency", "processing_seconds"}


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
class WireSettings:
    """What every wire has: all durations are simulated seconds; ``None`` means no limit."""

    balance: Decimal
    latency: tuple[float, float]
    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    generations_per_hour: int | None = None
    concurrency: int | None = None
    link_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BloomSettings(WireSettings):
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
class GetimgSettings(WireSettings):
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
class OpenRouterSettings(WireSettings):
    """OpenRouter: USD, images inside the reply, charged when the last byte of it is written.

    ``billing`` "accepted" and "completed" charge although nobody received the reply, which the vendor says it does not
    do: as the work begins, or once it is done.
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
    most_body_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PostEverywhereSettings(WireSettings):
    """PostEverywhere: credits, a media id at once and perhaps no way to its file.

    ``url`` says what media tell of it: nothing ("absent"), a signed link that dies ("url") or an open one
    ("permanent"). ``reply_shape``, ``status_field``, ``list_field`` and ``me_envelope`` pick between documents that
    disagree, and so does ``default_model``; ``None`` makes the model required. ``retryable`` and ``rate_code`` are
    about error bodies, ``missing_scope_status`` is how a key without the ``ai`` scope is refused.
    """

    balance: Decimal = Decimal(100_000)
    latency: tuple[float, float] = (2.0, 8.0)
    processing_seconds: tuple[float, float] = (0.5, 3.0)
    requests_per_minute: int | None = 60
    requests_per_hour: int | None = 1000
    generations_per_hour: int | None = 50
    image_format: Literal["png", "jpeg", "webp"] = "png"
    url: Literal["absent", "url", "permanent"] = "absent"
    reply_shape: Literal["current", "older"] = "current"
    status_field: Literal["status", "media_status"] = "status"
    list_field: Literal["items", "media"] = "items"
    me_envelope: bool = True
    default_model: str | None = "nano-banana-pro"
    retryable: bool = True
    rate_code: Literal["rate_limit_exceeded", "rate_limited"] = "rate_limit_exceeded"
    missing_scope_status: Literal[401, 403] = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class BanatieSettings(WireSettings):
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

    def wires(self) -> dict[str, WireSettings]:
        """Return the settings of every wire by its name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, WireSettings)}

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


def overlay(base: _T, values: Mapping[str, Any], where: str) -> _T:
    """Return ``base`` with ``values`` in place of its fields; amounts become decimals, pairs tuples."""
    known = {item.name for item in fields(base)}
    for name in values:
        if name not in known:
            raise ValueError(f"{where}.{name} is not a setting of the simulator; it knows {', '.join(sorted(known))}")
    return replace(base, **{name: _coerced(name, value) for name, value in values.items()})


def _account(row: Mapping[str, Any]) -> AccountConfig:
    base = AccountConfig(provider=str(row.get("provider", "")), key=str(row.get("key", "")))
    if not base.provider or not base.key:
        raise ValueError("accounts: each entry needs a provider and a key")
    return overlay(base, row, "accounts")


def _coerced(name: str, value: Any) -> Any:
    if name in _AMOUNTS and value is not None:
        return Decimal(str(value))
    if name in _SPANS:
        low, high = value
        return (float(low), float(high))
    return value
