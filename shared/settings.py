"""Every setting, with its unit, default and reason; read once at the edge and passed in.

Sources, first wins: the environment (`GENQUEUE_...`), then `genqueue.toml` in the working directory.
Secrets are `SecretStr`: they print as stars wherever settings are printed.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from shared import catalog

_PREFIX = "GENQUEUE_"
_UNIT_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_WINDOW = re.compile(r"(\d+)/(second|minute|hour|day)")


class SettingsError(Exception):
    """A setting is wrong; the message names each and says what is expected."""


class Window(BaseModel):
    """A sliding rate window: at most `requests` requests in any `seconds` seconds."""

    model_config = ConfigDict(frozen=True)

    requests: int = Field(gt=0)
    seconds: float = Field(gt=0)


def parse_windows(text: str) -> tuple[Window, ...]:
    """Read windows such as `120/minute,1000/hour`; an empty text means no limit of ours.

    Raises `ValueError` that quotes the part it cannot read.
    """
    windows = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        found = _WINDOW.fullmatch(part)
        if not found:
            raise ValueError(f"{part!r} is not a limit such as 120/minute (second, minute, hour, day)")
        windows.append(Window(requests=int(found[1]), seconds=_UNIT_SECONDS[found[2]]))
    return tuple(windows)


class AccountSettings(BaseModel):
    """One API key at one provider, with its own limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str = Field(description="which provider's wire this account speaks")
    api_key: SecretStr | None = Field(None, description="only workers need it; never stored")
    base_url: str = Field("", description="empty = the provider's own; http only to loopback")
    concurrency: int | None = Field(None, ge=1, le=1000, description="paid calls in the air at once")
    limits: tuple[Window, ...] | None = Field(
        None, description="sliding windows; empty = the provider's documented ones"
    )
    timeout_seconds: float | None = Field(None, gt=0, le=3600, description="wall clock of one paid call")
    brand_session_id: str | None = Field(None, description="Bloom: the brand used where a row names none")

    @field_validator("limits", mode="before")
    @classmethod
    def _read_limits(cls, value: object) -> object:
        return parse_windows(value) if isinstance(value, str) else value


class _ProviderShorthand(PydanticBaseSettingsSource):
    """`GENQUEUE_BLOOM_API_KEY=...` for the one account most people have: named like its provider."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self, environ: dict[str, str] | None = None) -> dict[str, Any]:
        environ = dict(os.environ) if environ is None else environ
        accounts: dict[str, dict[str, Any]] = {}
        for provider in catalog.names():
            given = {
                field: environ[name]
                for field in AccountSettings.model_fields
                if field != "provider" and (name := f"{_PREFIX}{provider.upper()}_{field.upper()}") in environ
            }
            if given:
                accounts[provider] = {"provider": provider, **given}
        return {"accounts": accounts} if accounts else {}


class Settings(BaseSettings):
    """The settings of every role; a producer needs only the database."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore", toml_file="genqueue.toml"
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
    max_image_bytes: int = Field(100 * 2**20, gt=0, description="bytes; larger results are refused")
    max_image_pixels: int = Field(200_000_000, gt=0, description="pixels; larger results are refused")
    verify_decode: bool = Field(False, description="decode every image in full as well; costs many times the check")
    spool_dir: Path | None = Field(None, description="where large results wait for S3; empty = the system's")
    deadline_seconds: float = Field(86_400, gt=0, description="after it a queued job buys nothing any more")
    collect_seconds: float = Field(
        7 * 86_400, gt=0, description="after it a bought job is given up; the last bound on everything"
    )
    held_recheck_seconds: float = Field(86_400, gt=0, description="how often a held job is looked at again")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto = text on a terminal")

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
    """Read the settings from their sources.

    Raises `SettingsError` naming every wrong setting; a secret's value is never in the message.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [
            f"{_PREFIX}{'__'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(lines)) from None
