"""What a home remembers between starts: its ports, its passwords, and whose PostgreSQL data it holds."""

import json
import secrets
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ops.stack.endpoints import Endpoints
from ops.stack.errors import StackError
from ops.stack.ports import LOOPBACK, free_port, is_free
from ops.stack.sockets import socket_place

BUCKET = "genqueue"
DATABASE = "genqueue"
"""The database, and the superuser that initdb makes: only the supervisor uses it."""
OWNER_ROLE = "genqueue_owner"
APP_ROLE = "genqueue_app"
SERVICES = ("postgres", "redis", "s3")
_WITH_PORTS = ("postgres", "s3")


def _password() -> str:
    return secrets.token_urlsafe(24)


class DatabaseFiles(BaseModel):
    """The one data directory of a home; it belongs to one major version of PostgreSQL."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    major: int
    directory: Path


class Config(BaseModel):
    """The content of config.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ports: dict[str, int] = Field(default_factory=dict)
    postgres_password: str = Field(default_factory=_password, min_length=8, repr=False)
    owner_password: str = Field(default_factory=_password, min_length=8, repr=False)
    app_password: str = Field(default_factory=_password, min_length=8, repr=False)
    redis_socket: Path | None = None
    """Where Redis listened at the last start: in the home, or elsewhere if the home's path is too long."""
    redis_password: str = Field(default="", repr=False)
    """Of an older genqueue, whose Redis listened on TCP; nothing reads it."""
    # The emulator behind S3 takes any secret with a known key, so the key is as random as the secret.
    s3_access_key: str = Field(default_factory=lambda: secrets.token_hex(10).upper(), min_length=8, repr=False)
    s3_secret_key: str = Field(default_factory=_password, min_length=8, repr=False)
    webhook_key: str = Field(default_factory=_password, min_length=8, repr=False)
    database_files: DatabaseFiles | None = None

    def with_free_ports(self, services: Collection[str]) -> "Config":
        """Keep the remembered ports; choose anew where one is missing, or taken and about to be used."""
        ports = dict(self.ports)
        for name in _WITH_PORTS:
            if name not in ports or (name in services and not is_free(ports[name])):
                ports[name] = free_port(avoid=set(ports.values()))
        return self.model_copy(update={"ports": ports})

    def with_socket(self, home: Path) -> "Config":
        """Choose where Redis listens: in `home`, the place of the last start, or a new one."""
        return self.model_copy(update={"redis_socket": socket_place(home, self.redis_socket)})

    def endpoints(self) -> Endpoints:
        """Return the addresses, also of services that were not started."""
        return Endpoints(
            database_url=self._database_url(APP_ROLE, self.app_password),
            owner_url=self._database_url(OWNER_ROLE, self.owner_password),
            admin_url=self._database_url(DATABASE, self.postgres_password),
            broker_url=f"unix://{quote(str(self.redis_socket))}?db=0" if self.redis_socket else "",
            s3_endpoint_url=f"http://{LOOPBACK}:{self.ports['s3']}",
            s3_bucket=BUCKET,
            s3_access_key=self.s3_access_key,
            s3_secret_key=self.s3_secret_key,
            webhook_key=self.webhook_key,
        )

    def _database_url(self, role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@{LOOPBACK}:{self.ports['postgres']}/{DATABASE}"


def read_config(path: Path) -> Config | None:
    """Read config.json; None if there is none yet. Raises StackError naming the wrong field or line."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"cannot read {path}: {error}") from None
    try:
        config = Config.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno} column {error.colno}: {error.msg}"
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"
    else:
        missing = [name for name in _WITH_PORTS if name not in config.ports]
        if not missing:
            return config
        reason = f"ports.{missing[0]}: missing"
    raise StackError(
        f"{path} is damaged ({reason}); restore it, since the data of this home cannot be opened "
        "without its passwords, or set GENQUEUE_HOME to a new directory"
    )
