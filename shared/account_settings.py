"""Settings of one account: its key, its limits, its prices, and the rate windows that they are written as."""

import re
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared import catalog
from shared.catalog.parameter import is_uuid

MOST_MONEY = 10**9
_KEY = re.compile(r"[!-~]+")
_UNIT_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_WINDOW = re.compile(r"(\d+)/(second|minute|hour|day|\d{1,9}(?:\.\d{1,6})?s)( ?\(paid\))?")


class RateWindow(BaseModel):
    """A sliding rate window: at most `requests` requests in any `seconds` seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    requests: int = Field(gt=0)
    seconds: float = Field(gt=0)
    scope: Literal["all", "submit"] = "all"
    """Whether every request counts, or only paid calls."""

    def __str__(self) -> str:
        unit = next((unit for unit, seconds in _UNIT_SECONDS.items() if seconds == self.seconds), f"{self.seconds:g}s")
        return f"{self.requests}/{unit}{' (paid)' if self.scope == 'submit' else ''}"


def parse_windows(text: str) -> tuple[RateWindow, ...]:
    """Read windows such as `120/minute,1000/hour`, `20/90s` or `50/hour (paid)`; `none` means no limit of ours.

    Raises `ValueError` that quotes the part it cannot read.
    """
    if text.strip().lower() == "none":
        return ()
    windows = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        found = _WINDOW.fullmatch(part)
        if not found:
            raise ValueError(f"{part[:40]!r} is not a limit such as 120/minute (second, minute, hour, day)")
        windows.append(
            RateWindow(requests=int(found[1]), seconds=_window_seconds(found[2]), scope="submit" if found[3] else "all")
        )
    return tuple(windows)


def _window_seconds(unit: str) -> float:
    return _UNIT_SECONDS.get(unit) or float(unit.removesuffix("s"))


class AccountSettings(BaseModel):
    """One API key at one provider, with its own limits."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    provider: str = Field(description="the provider's name; an account named like a provider needs none")
    api_key: SecretStr | None = Field(None, description="API key; only workers need it; never stored")
    base_url: str = Field(
        "",
        description="base URL; empty = the provider's own; plain http only to loopback and GENQUEUE_ALLOW_PRIVATE_URLS",
    )
    concurrency: int | None = Field(None, ge=1, le=1000, description="number of paid calls in the air at once")
    limits: tuple[RateWindow, ...] | None = Field(
        None,
        description="rate windows, such as 120/minute,1000/hour; none = no limit; empty = the provider's documented "
        "ones",
    )
    timeout_seconds: float | None = Field(None, gt=0, le=3600, description="time limit of one paid call")
    allow_unknown_price: bool = Field(
        default=False, description="buy even if neither the catalog nor `prices` has a price; then no cap can be kept"
    )
    daily_cap: Decimal | None = Field(
        None,
        ge=0,
        le=MOST_MONEY,
        decimal_places=9,
        description="the most to spend in one day (UTC), in the account's unit; empty = no cap",
    )
    quiet_seconds: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="time from the end of a lost call until the provider shows what it made or charged",
    )
    brand_session_id: str | None = Field(None, description="Bloom: the brand for rows that name none")
    # NoDecode, because the environment gives the text that `_read_prices` reads, not JSON.
    prices: Annotated[dict[str, Decimal], NoDecode] = Field(
        default_factory=dict,
        description="your own price of one image by model, such as a-model=0.035,other=0.1; wins over the provider's "
        "stated price",
    )
    media_without_url: Literal["fail", "succeed"] = Field(
        "fail",
        description="PostEverywhere: a finished image without a link counts as failed (`fail`), or as delivered at the "
        "provider (`succeed`)",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object) -> object:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("base_url", mode="before")
    @classmethod
    def _read_base_url(cls, value: object) -> object:
        return _checked_url(value) if isinstance(value, str) else value or ""

    @field_validator("limits", mode="before")
    @classmethod
    def _read_limits(cls, value: object) -> object:
        return parse_windows(value) if isinstance(value, str) else value

    @field_validator("prices", mode="before")
    @classmethod
    def _read_prices(cls, value: object) -> object:
        if not isinstance(value, str):
            return value or {}
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(model.strip() and price.strip() for model, _, price in pairs):
            raise ValueError("prices are written as model=0.035, with commas between them")
        return {model.strip(): price.strip() for model, _, price in pairs}

    @field_validator("prices")
    @classmethod
    def _are_prices(cls, value: dict[str, Decimal]) -> dict[str, Decimal]:
        for model, price in value.items():
            if not price.is_finite() or not 0 <= price <= MOST_MONEY:
                raise ValueError(f"the price of {model} is not an amount")
        return value

    @field_validator("provider")
    @classmethod
    def _is_a_provider(cls, value: str) -> str:
        if value not in catalog.names():
            raise ValueError(f"no such provider; known: {', '.join(catalog.names())}")
        return value

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _KEY.fullmatch(value.get_secret_value()):
            raise ValueError("must be printable ASCII without spaces")
        return value

    @field_validator("brand_session_id")
    @classmethod
    def _is_a_brand(cls, value: str | None) -> str | None:
        if value and not is_uuid(value):
            raise ValueError("must be the UUID of a brand")
        return value


def _checked_url(text: str) -> str:
    try:
        url = urlsplit(text.strip())
        fine = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        fine = False
    if not fine or url.username is not None or url.query or url.fragment:
        raise ValueError("must be an http(s) URL without user, query and fragment")
    return text.strip().rstrip("/")
