"""Every setting, with its unit, default and reason; read once at the edge and passed in.

Sources, first match wins: the environment (`GENQUEUE_...`; an empty value counts as not set), then `genqueue.toml` in
the working directory. A trial's own file comes before both, and is the only source of accounts. Secrets are
`SecretStr`, so they print as stars.
"""

import os
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import pydantic_settings
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from shared import broker_url, catalog, trial
from shared.account_settings import MOST_MONEY, AccountSettings
from shared.retention import parse_retention
from shared.setting_origins import FILE, PREFIX, shorthand_name, written_as

_WEBHOOK_KEY_CHARS: Final = 32


class SettingsError(Exception):
    """A setting is wrong. The message names each wrong setting and says what is expected."""


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

    home: Path = Field(Path(".genqueue"), description="directory where the embedded servers keep their data")
    trial: Path | None = Field(
        None,
        description="file with a trial's simulated accounts; `genqueue` sets it for a trial's processes, you do not",
    )
    database_url: SecretStr = Field(SecretStr(""), description="PostgreSQL 15 or newer; empty = the embedded one")
    database_schema: str = Field(
        "",
        pattern=r"^([a-z_][a-z0-9_]{0,62})?$",
        description="schema with our tables; empty = `public` if an older genqueue uses it, otherwise `genqueue`",
    )
    broker_url: SecretStr = Field(
        SecretStr(""),
        description="Redis 6.2 or newer: `redis://`, `rediss://`, `unix://` or `sentinel://`; empty = the embedded one",
    )
    broker_ca_file: Path | None = Field(
        None,
        description="certificates of the authority that signed the broker's, for `rediss://`; empty = the system's",
    )
    s3_endpoint_url: str = Field(
        "", description="S3 server; empty = AWS, or the embedded one together with the embedded database"
    )
    s3_bucket: str = Field("genqueue", description="bucket for the results; it must exist")
    s3_region: str = Field("us-east-1", description="the bucket's region")
    s3_timeout_seconds: float = Field(60, gt=0, description="time limit of one read or write on an S3 connection")

    s3_link_url: str = Field(
        "",
        description="S3 server as callers of the HTTP API reach it, for links to images; empty = as workers do",
    )

    accounts: dict[str, AccountSettings] = Field(default_factory=dict, description="accounts by name")
    allow_private_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="private hosts or networks from which results may be downloaded; comma-separated"
    )

    api_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="host names under which programs reach the HTTP API, besides localhost; comma-separated; a request "
        "with another Host is refused, because a web page could have sent it",
    )

    door_broker_url: SecretStr = Field(
        SecretStr(""),
        description="the own Redis or RabbitMQ of the pipelines that `genqueue celery-door` serves; never genqueue's "
        "Redis, which may be emptied at any time",
    )
    webhook_key: SecretStr = Field(
        SecretStr(""),
        description="at least 32 characters of chance, the same for workers and for `genqueue webhook`; each "
        "endpoint's secret is derived from it, so that the database holds none; empty = no webhooks",
    )
    webhook_key_before: SecretStr = Field(
        SecretStr(""),
        description="the webhook key before the present one: while it is set, webhooks are signed with the secrets of "
        "both keys; remove it once every receiver has its new secret; empty = none",
    )

    worker_slots: int = Field(
        16, ge=2, le=128, description="number of messages that one worker process handles at once"
    )
    tick_seconds: float = Field(
        0.5,
        gt=0,
        le=60,
        description="longest time between two ticks of the dispatcher while jobs wait; four times that at rest",
    )
    poll_first_seconds: float = Field(
        2.0,
        gt=0,
        description="first wait before the provider is asked again, until eight jobs of a model are known; the waits "
        "grow from here",
    )
    poll_max_seconds: float = Field(
        30.0, gt=0, description="longest wait between two polls of a job, once one of its kind may be ready"
    )
    retry_first_seconds: float = Field(2.0, gt=0, description="first wait after a refusal that may pass")
    retry_max_seconds: float = Field(300.0, gt=0, description="longest wait after a refusal that may pass")
    submit_tries: int = Field(
        10,
        ge=1,
        description="number of times that a provider may be unavailable for one job, unbilled, before the job fails; "
        "a 429 does not count",
    )
    probe_first_seconds: float = Field(
        30.0,
        gt=0,
        description="wait before a paused account is first probed; its balance decides, or one paid call if it shows "
        "none",
    )
    probe_max_seconds: float = Field(
        900.0, gt=0, description="longest wait between two probes; the wait doubles each time"
    )
    crashes_before_poison: int = Field(
        3,
        ge=1,
        le=100,
        description="number of workers that must die while they run only this job, before the job ends as poison; its"
        " first two crashes do not count",
    )
    max_call_cost: Decimal = Field(
        Decimal(10),
        gt=0,
        le=MOST_MONEY,
        description="USD; a paid call that costs more than this without having announced it pauses its account for a "
        "person; far above the cost of any image",
    )
    doubts_before_pause: int = Field(
        10, ge=1, description="number of paid calls in a row without a readable answer that pauses their account"
    )
    failures_before_pause: int = Field(
        3,
        ge=1,
        description="number of paid calls in a row with a 5xx answer that pauses their account; then one call at a "
        "time tests the provider",
    )
    send_within_seconds: float = Field(
        20.0,
        gt=0,
        description="longest time from the intent to the first byte; a sender that was frozen for longer does not send",
    )
    lease_slack_seconds: float = Field(
        30.0, gt=0, description="added to the longest time that work may take, before its row is due again"
    )
    fetch_timeout_seconds: float = Field(120.0, gt=0, description="time limit of one download, redirects included")
    fetch_least_bytes_per_second: int = Field(
        10_000,
        ge=0,
        description="least average speed of a download after ten seconds; a slower host gets one download at a time",
    )
    fetch_connect_seconds: float = Field(10.0, gt=0, description="time limit of one connect")
    fetch_tries: int = Field(
        6,
        ge=1,
        description="after this many downloads whose bytes are not a whole image, the image fails; a download that the "
        "host refuses or breaks off does not count, and is repeated until the link expires",
    )
    fetch_page_tries: int = Field(
        24,
        ge=1,
        description="the same for downloads that give a page, or anything else that is no image at all: about five "
        "hours, as waits grow to `GENQUEUE_BELIEVE_SECONDS`; never fewer than `GENQUEUE_FETCH_TRIES`",
    )
    believe_seconds: float = Field(
        900.0,
        gt=0,
        le=86_400,
        description="a provider must say for this long, in at least five looks, that a bought image is gone before "
        "the queue believes it; the provider may be restarting",
    )
    looks_failing_seconds: float = Field(
        600.0,
        gt=0,
        description="when looks have failed for this long, the account buys nothing more, because its purchases could"
        " not be collected",
    )
    store_wait_seconds: float = Field(
        900.0,
        ge=0,
        description="longest time that a worker holds an image whose link will die while the bucket refuses",
    )
    max_reply_bytes: int = Field(512 * 2**20, gt=0, description="bytes; a longer answer is cut; with images, refused")
    max_image_bytes: int = Field(100 * 2**20, gt=0, description="bytes; a larger result is refused")
    max_image_pixels: int = Field(200_000_000, gt=0, description="pixels; a larger result is refused")
    verify_decode: bool = Field(
        default=False, description="also decode every image in full; costs many times the check"
    )
    spool_dir: Path | None = Field(
        None,
        description="directory where results and paid answers wait; nobody else may write there; empty = `spool` in "
        "the home",
    )
    stop_seconds: float = Field(
        1740.0,
        gt=0,
        description="longest time from SIGTERM to the worker's end; it then writes to its disk what it could not "
        "record; just below the half hour that Compose gives",
    )
    deadline_seconds: float = Field(86_400, gt=0, description="after this time a queued job buys nothing any more")
    collect_seconds: float = Field(
        7 * 86_400, gt=0, description="after this time a bought job is given up: its collection deadline"
    )
    account_check_seconds: float = Field(
        600.0,
        gt=0,
        description="time between two questions about each account's balance and readiness; one request each",
    )
    price_check_seconds: float = Field(
        3600.0,
        ge=1,
        description="time between two readings of the providers' stated models and prices; a price change may stay "
        "unnoticed for this long",
    )
    sweep_seconds: float = Field(
        3600.0,
        gt=0,
        description="time between two searches for unowned images, in each account's list and, for held jobs, in our "
        "own bucket",
    )
    retention: str = Field(
        "",
        description="how long ended jobs are kept, such as `succeeded=90d,failed=180d,cancelled=30d`; empty = "
        "forever; nothing can explain a job that has left, and its row is bought again if it is enqueued "
        "again",
    )
    dashboard_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="names under which browsers reach the dashboard, besides localhost; comma-separated"
    )
    dashboard_user_header: str = Field(
        "",
        description="header in which a proxy names the person that it signed in, such as `X-Forwarded-User`; empty = "
        "everybody signs in with a token",
    )
    dashboard_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="addresses or networks of the proxies that may send this header; comma-separated"
    )
    dashboard_user_scopes: Annotated[tuple[str, ...], NoDecode] = Field(
        ("jobs:read", "results:read"),
        description="scopes, as of a token, of whoever such a proxy names; comma-separated",
    )
    dashboard_token: SecretStr = Field(
        SecretStr(""),
        description="token with which a person signs in to the dashboard, with every right; empty = one is made and "
        "printed at each start",
    )
    held_recheck_seconds: float = Field(86_400, gt=0, description="time between two looks at a held job")
    metrics_address: str = Field(
        "",
        pattern=r"^(\[?[^\s\[\]]+\]?:\d{1,5})?$",
        description="host and port on which a worker serves its metrics to Prometheus, such as `127.0.0.1:9464`; no "
        "password; each worker of a host needs its own port; empty = none",
    )
    alert_command: str = Field(
        "",
        description="command that a worker runs when something is wrong, when it lasts and when it is over, such as "
        "`mail -s genqueue ops@example.com`; it gets the words on its input, and no keys; no shell; empty = none",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto = text on a terminal, otherwise json")

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

    @field_validator(
        "allow_private_urls",
        "api_hosts",
        "dashboard_hosts",
        "dashboard_proxies",
        "dashboard_user_scopes",
        mode="before",
    )
    @classmethod
    def _read_list(cls, value: object) -> object:
        return tuple(filter(None, re.split(r"[,\s]+", value))) if isinstance(value, str) else value

    @field_validator("broker_url")
    @classmethod
    def _names_a_broker(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            broker_url.parse(value.get_secret_value())
        return value

    @field_validator("webhook_key", "webhook_key_before")
    @classmethod
    def _is_long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < _WEBHOOK_KEY_CHARS:
            raise ValueError(f"has fewer than {_WEBHOOK_KEY_CHARS} characters")
        return value

    @field_validator("retention")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        parse_retention(value)
        return value

    @field_validator("trial")
    @classmethod
    def _is_in_force(cls, value: Path | None) -> Path | None:
        if value is not None and trial.in_force() is None:
            raise ValueError("is set by genqueue itself, in the environment of a trial's processes")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - fixed by pydantic-settings
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - fixed by pydantic-settings
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before file; the shorthand counts as environment; a trial's accounts come from its file alone."""
        file = trial.in_force()
        if file is None:
            return init_settings, env_settings, cls.shorthand(settings_cls), TomlConfigSettingsSource(settings_cls)
        others = trial.EnvironmentWithoutAccounts(env_settings), trial.TomlWithoutAccounts(settings_cls)
        return init_settings, trial.TrialSource(settings_cls, file), *others


def load(**overrides: Any) -> Settings:
    """Read the settings from their sources; `overrides` take precedence.

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
    except trial.TrialError as error:
        message = str(error)
    raise SettingsError(message)


def _complaint(kind: str, message: str) -> str:
    return "there is no such setting" if kind == "extra_forbidden" else message.removeprefix("Value error, ")
