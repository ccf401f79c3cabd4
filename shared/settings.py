"""Every setting, with its unit, default and reason; read once at the edge and passed in.

Sources, first wins: the environment (`GENQUEUE_...`; empty counts as not set), then `genqueue.toml` in the working
directory. Secrets are `SecretStr`: they print as stars wherever settings are printed.
"""

import os
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import pydantic_settings
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from shared import catalog
from shared.catalog.parameter import is_uuid
from shared.setting_origins import FILE, PREFIX, shorthand_name, written_as

_MOST_MONEY = 10**9
_KEY = re.compile(r"[!-~]+")
_UNIT_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_WINDOW = re.compile(r"(\d+)/(second|minute|hour|day|\d{1,9}(?:\.\d{1,6})?s)( ?\(paid\))?")


class SettingsError(Exception):
    """A setting is wrong; the message names each and says what is expected."""


class Window(BaseModel):
    """A sliding rate window: at most `requests` requests in any `seconds` seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    requests: int = Field(gt=0)
    seconds: float = Field(gt=0)
    scope: Literal["all", "submit"] = "all"
    """Whether every request counts, or only paid calls."""

    def __str__(self) -> str:
        unit = next((unit for unit, seconds in _UNIT_SECONDS.items() if seconds == self.seconds), f"{self.seconds:g}s")
        return f"{self.requests}/{unit}{' (paid)' if self.scope == 'submit' else ''}"


def parse_windows(text: str) -> tuple[Window, ...]:
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
            Window(requests=int(found[1]), seconds=_window_seconds(found[2]), scope="submit" if found[3] else "all")
        )
    return tuple(windows)


def _window_seconds(unit: str) -> float:
    return _UNIT_SECONDS.get(unit) or float(unit.removesuffix("s"))


class AccountSettings(BaseModel):
    """One API key at one provider, with its own limits."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    provider: str = Field(description="whose wire it speaks; an account named like a provider needs none")
    api_key: SecretStr | None = Field(None, description="only workers need it; never stored")
    base_url: str = Field(
        "", description="empty = the provider's own; plain http only to loopback and GENQUEUE_ALLOW_PRIVATE_URLS"
    )
    concurrency: int | None = Field(None, ge=1, le=1000, description="paid calls in the air at once")
    limits: tuple[Window, ...] | None = Field(
        None, description="such as 120/minute,1000/hour; none = no limit; empty = the provider's documented ones"
    )
    timeout_seconds: float | None = Field(None, gt=0, le=3600, description="wall clock of one paid call")
    allow_unknown_price: bool = Field(
        default=False, description="buy what neither the catalog nor prices has a price for; no cap can be kept then"
    )
    daily_cap: Decimal | None = Field(
        None,
        ge=0,
        le=_MOST_MONEY,
        decimal_places=9,
        description="the most to spend in one day (UTC), in the account's unit; empty = no cap",
    )
    quiet_seconds: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="after a lost call is over, until the provider shows what it made or charged",
    )
    brand_session_id: str | None = Field(None, description="Bloom: the brand used where a row names none")
    prices: dict[str, Decimal] = Field(
        default_factory=dict,
        description="your own price of one image by model, such as seedream-5-lite=0.035,other=0.1",
    )
    media_without_url: Literal["fail", "succeed"] = Field(
        "fail", description="PostEverywhere: what a finished picture is that comes without a link"
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
            if not price.is_finite() or not 0 <= price <= _MOST_MONEY:
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


class _ProviderShorthand(PydanticBaseSettingsSource):
    """`GENQUEUE_BLOOM_API_KEY=...` for the one account most people have: named like its provider."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - fixed by pydantic-settings
        return None, field_name, False

    def __call__(self, environ: dict[str, str] | None = None) -> dict[str, Any]:
        environ = dict(os.environ) if environ is None else environ
        accounts: dict[str, dict[str, Any]] = {}
        for provider in catalog.names():
            names = {field: shorthand_name(provider, field) for field in AccountSettings.model_fields}
            given = {field: environ[name] for field, name in names.items() if name and environ.get(name)}
            if given:
                accounts[provider] = given
        return {"accounts": accounts} if accounts else {}


class Settings(BaseSettings):
    """The settings of every role; a producer needs only the database."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        toml_file=FILE,
    )
    shorthand: ClassVar[type[PydanticBaseSettingsSource]] = _ProviderShorthand

    home: Path = Field(Path(".genqueue"), description="where the embedded servers keep their data")
    database_url: SecretStr = Field(SecretStr(""), description="PostgreSQL >= 15; empty = the embedded one")
    broker_url: SecretStr = Field(SecretStr(""), description="Redis >= 6.2; empty = the embedded one")
    s3_endpoint_url: str = Field("", description="empty = AWS, or the embedded one with the embedded database")
    s3_bucket: str = Field("genqueue", description="where results go; it must exist")
    s3_region: str = Field("us-east-1", description="the bucket's region")
    s3_timeout_seconds: float = Field(60, gt=0, description="one read or write on an S3 connection")

    accounts: dict[str, AccountSettings] = Field(default_factory=dict, description="by name")
    allow_private_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="hosts or networks results may come from although not public; comma-separated"
    )

    worker_slots: int = Field(16, ge=2, le=128, description="batches a worker process runs at once")
    tick_seconds: float = Field(0.5, gt=0, le=60, description="the dispatcher looks at least this often")
    poll_first_seconds: float = Field(2.0, gt=0, description="first wait before asking again; grows from here")
    poll_max_seconds: float = Field(30.0, gt=0, description="longest wait between two polls of a job")
    retry_first_seconds: float = Field(2.0, gt=0, description="first wait after a refusal that may pass")
    retry_max_seconds: float = Field(300.0, gt=0, description="longest such wait")
    submit_tries: int = Field(
        10, ge=1, description="unbilled refusals of one job as unavailable (not 429s) before it fails"
    )
    probe_first_seconds: float = Field(
        30.0,
        gt=0,
        description="until a paused account is first looked at again; a balance, else one paid call, decides",
    )
    probe_max_seconds: float = Field(900.0, gt=0, description="longest such wait; it doubles with each look")
    crashes_before_poison: int = Field(
        3,
        ge=1,
        le=100,
        description="workers that a job must have ended, running alone after two, before it ends itself",
    )
    doubts_before_pause: int = Field(
        10, ge=1, description="paid calls in a row without a readable answer before their account pauses"
    )
    send_within_seconds: float = Field(
        20.0, gt=0, description="from intent to first byte; a sender that was frozen for longer does not send"
    )
    lease_slack_seconds: float = Field(
        30.0, gt=0, description="added to the longest time work may take before its row is due again"
    )
    fetch_timeout_seconds: float = Field(120.0, gt=0, description="wall clock of one download, redirects included")
    fetch_connect_seconds: float = Field(10.0, gt=0, description="wall clock of one connect")
    fetch_tries: int = Field(6, ge=1, description="downloads of a link that keeps failing before the image fails")
    store_wait_seconds: float = Field(
        900.0,
        ge=0,
        description="while the bucket refuses, a picture whose link will die is held in hand this long",
    )
    max_reply_bytes: int = Field(
        512 * 2**20, gt=0, description="bytes; an answer that carries images and is longer is refused"
    )
    max_image_bytes: int = Field(100 * 2**20, gt=0, description="bytes; larger results are refused")
    max_image_pixels: int = Field(200_000_000, gt=0, description="pixels; larger results are refused")
    verify_decode: bool = Field(
        default=False, description="decode every image in full as well; costs many times the check"
    )
    spool_dir: Path | None = Field(None, description="where large results wait for S3; empty = the system's")
    deadline_seconds: float = Field(86_400, gt=0, description="after it a queued job buys nothing any more")
    collect_seconds: float = Field(
        7 * 86_400, gt=0, description="after it a bought job is given up; the last bound on everything"
    )
    account_check_seconds: float = Field(
        600.0, gt=0, description="how often a worker asks each account's balance and readiness; one request each"
    )
    sweep_seconds: float = Field(
        3600.0,
        gt=0,
        description="how often purchases that nobody owns are searched for, in each account's list and, for held jobs, "
        "in our own bucket",
    )
    held_recheck_seconds: float = Field(86_400, gt=0, description="how often a held job is looked at again")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto = text on a terminal")

    @model_validator(mode="before")
    @classmethod
    def _name_the_provider(cls, values: Any) -> Any:
        accounts = values.get("accounts") if isinstance(values, dict) else None
        if not isinstance(accounts, dict):
            return values
        named = {
            name: {"provider": name, **account} if isinstance(account, dict) and name in catalog.names() else account
            for name, account in accounts.items()
        }
        return {**values, "accounts": named}

    @field_validator("allow_private_urls", mode="before")
    @classmethod
    def _read_list(cls, value: object) -> object:
        return tuple(filter(None, re.split(r"[,\s]+", value))) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - fixed by pydantic-settings
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - fixed by pydantic-settings
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before file; the shorthand counts as environment."""
        return (
            init_settings,
            env_settings,
            cls.shorthand(settings_cls),
            TomlConfigSettingsSource(settings_cls),
        )


def load(**overrides: Any) -> Settings:
    """Read the settings from their sources; `overrides` go before all of them.

    Raises `SettingsError` naming every wrong setting as it was written; a secret's value is never in the message.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        message = "; ".join(
            f"{written_as(fault['loc'])[0]}: {_complaint(fault['type'], fault['msg'])}" for fault in faults
        )
    except pydantic_settings.SettingsError:
        message = f"{PREFIX}ACCOUNTS: is not JSON; {PREFIX}ACCOUNTS__NAME__FIELD sets one field at a time"
    except tomllib.TOMLDecodeError as error:
        message = f"{FILE}: is not TOML: {error}"
    except (OSError, UnicodeDecodeError) as error:
        message = f"{FILE}: cannot be read ({type(error).__name__})"
    raise SettingsError(message)


def _complaint(kind: str, message: str) -> str:
    return "there is no such setting" if kind == "extra_forbidden" else message.removeprefix("Value error, ")
