"""What every stage needs, made once a process: database, bucket, links, accounts, and the loop they run on."""

import hashlib
import os
import secrets
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
from anyio.abc import TaskGroup
from pydantic import SecretStr

from shared import catalog
from shared.catalog import Provider
from shared.db.accounts import AccountRow, Probing
from shared.db.engine import Connection, Engine, commit_all, open_engine, transaction
from shared.db.intents import Request, Sender, Terms
from shared.requests import GenerationRequest
from shared.settings import AccountSettings, Settings, SettingsError, Window
from worker.address_guard import AddressGuard
from worker.api_get import ApiGet
from worker.committer import Committer
from worker.fetch import Fetcher
from worker.paid_post import PaidPost
from worker.providers import Wire, WireSettings, wire_for
from worker.replies import Replies
from worker.storage import Storage

T = TypeVar("T")
USER_AGENT = "genqueue"
_DB_THREADS = 8
_BUCKET_GATE_SECONDS = 20.0
API_SECONDS = 30.0
"""Wall clock of one question to a provider about what is bought already."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}


@dataclass(frozen=True, slots=True)
class Account:
    """One API key as a worker uses it."""

    name: str
    provider: Provider
    wire: Wire
    settings: AccountSettings
    post: PaidPost
    get: ApiGet
    wire_settings: WireSettings

    @property
    def quiet_seconds(self) -> float:
        """From the end of a lost call until the provider shows what it made or charged."""
        given = self.settings.quiet_seconds
        return self.provider.quiet_seconds if given is None else given

    @property
    def quiet_after_call(self) -> float:
        """From where a call ended for us until the provider shows what it bought.

        One that bills what it delivers, or all the same what it made, may go on for as long as any call takes.
        """
        return self.quiet_seconds + (self.timeout_seconds if self.wire.find_by == "usage" else 0.0)

    @property
    def key_id(self) -> str:
        """What tells the key and the server of this account from others: no way leads from it to the key."""
        key = self.wire_settings.api_key.get_secret_value()
        return hashlib.blake2b(f"{self.wire_settings.base_url}\n{key}".encode(), digest_size=8).hexdigest()

    @property
    def slack_seconds(self) -> float:
        """How far the times in the provider's list may be off ours; its usage has no times."""
        return 0.0 if self.wire.find_by == "usage" else self.quiet_seconds

    def searching(self, get: ApiGet) -> Wire:
        """Return a wire of this account that asks through `get`."""
        return wire_for(self.provider.name, replace(self.wire_settings, get=get))

    @property
    def timeout_seconds(self) -> float:
        """Wall clock of one paid call."""
        return self.post.timeout_seconds

    @property
    def row(self) -> AccountRow:
        """The account as the database keeps it."""
        return account_row(self.name, self.settings)

    def body(self, request: Request, count: int) -> dict[str, Any]:
        """Return the wire's JSON for `count` images; raises `ValueError` where row and account lack something."""
        defaults = {"brandSessionId": self.settings.brand_session_id} if self.settings.brand_session_id else {}
        wanted = GenerationRequest.model_validate({**request, "n": count})
        return self.provider.body(wanted, defaults)

    def price(self, request: Request, count: int) -> Decimal | None:
        """Return the most that `count` images can cost, or None where nobody knows."""
        wanted = GenerationRequest.model_validate({**request, "n": count})
        found = self.provider.price(wanted, self.settings.prices)
        return found.amount if found else None


def account_row(name: str, settings: AccountSettings) -> AccountRow:
    """Return what the database keeps of an account: its limits, with the provider's documented ones as default."""
    provider = catalog.get(settings.provider)
    windows = settings.limits
    if windows is None:
        windows = tuple(Window(requests=w.requests, seconds=w.seconds, scope=w.scope) for w in provider.windows)
    concurrency = settings.concurrency or provider.concurrency
    return AccountRow(name, provider.name, provider.unit, concurrency, windows, settings.daily_cap)


@dataclass(slots=True)
class Runtime:
    """One worker process's means. Made by `open_runtime`; `start` on the loop, `close` at the end."""

    settings: Settings
    engine: Engine
    storage: Storage
    fetcher: Fetcher
    accounts: dict[str, Account]
    sender: Sender
    replies: Replies
    spool_dir: Path
    random: Random = field(default_factory=Random)
    committer: Committer = field(init=False)
    transfers: anyio.CapacityLimiter = field(init=False)
    threads: anyio.CapacityLimiter = field(init=False)
    transfers_threads: anyio.CapacityLimiter = field(init=False)
    _refused_at: float = field(default=float("-inf"), init=False)

    def start(self, group: TaskGroup) -> None:
        """Begin committing on the loop this is called in."""
        self.transfers = anyio.CapacityLimiter(self.settings.worker_slots * 2)
        self.threads = anyio.CapacityLimiter(_DB_THREADS)
        self.transfers_threads = anyio.CapacityLimiter(self.settings.worker_slots * 2)
        self.committer = Committer(partial(commit_all, self.engine), random=self.random)
        self.committer.start(group)

    async def sql(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction in a thread and return its result; nothing is repeated."""

        def run() -> T:
            with transaction(self.engine) as connection:
                return work(connection)

        return await anyio.to_thread.run_sync(run, limiter=self.threads)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Commit `work`, however long the database is away; `work` must be safe to repeat."""
        result: T = await self.committer.write(work)
        return result

    def bucket_refused(self) -> None:
        """Note that the bucket refuses: nothing that would have to be copied at once is bought for a while."""
        self._refused_at = time.monotonic()

    def bucket_took(self) -> None:
        """Note that the bucket takes objects."""
        self._refused_at = float("-inf")

    @property
    def bucket_is_refusing(self) -> bool:
        """Whether the bucket refused within the last seconds."""
        return time.monotonic() - self._refused_at < _BUCKET_GATE_SECONDS

    async def close(self) -> None:
        """Close every connection."""
        await self.fetcher.close()
        for account in self.accounts.values():
            await account.post.close()
            await account.get.close()
        self.engine.dispose()

    def submit_lease(self, account: Account) -> float:
        """Seconds after which an unanswered paid call is certainly over."""
        return account.timeout_seconds + self.settings.send_within_seconds + self.settings.lease_slack_seconds

    def terms(self, account: Account, price: Callable[[Request, int], Decimal | None]) -> Terms:
        """Return on which terms `account` pays."""
        return Terms(
            price=price,
            allow_unknown_price=account.settings.allow_unknown_price,
            send_within_seconds=self.settings.send_within_seconds,
            lease_seconds=self.submit_lease(account),
            quiet_seconds=self.quiet_after(account),
            key_id=account.key_id,
        )

    def quiet_after(self, account: Account) -> float:
        """Seconds from an intent until nothing that was sent can still appear at the provider."""
        return self.settings.send_within_seconds + account.timeout_seconds + account.quiet_seconds

    @property
    def probing(self) -> Probing:
        """How often a paused account is looked at."""
        return Probing(self.settings.probe_first_seconds, self.settings.probe_max_seconds)

    @property
    def poll_lease(self) -> float:
        """Seconds that asking about a batch of jobs may take: a page, then what the page lacks."""
        return 2 * API_SECONDS + self.settings.lease_slack_seconds

    @property
    def transfer_lease(self) -> float:
        """Seconds that copying one job's images may take."""
        return (
            self.settings.fetch_timeout_seconds
            + 3 * self.settings.s3_timeout_seconds
            + self.settings.lease_slack_seconds
        )


def open_runtime(settings: Settings, *, access_key: SecretStr | None, secret_key: SecretStr | None) -> Runtime:
    """Make a worker's means from its settings; S3 keys None = the standard AWS chain.

    Raises `SettingsError` that names what is missing or wrong.
    """
    certificates = httpx.create_ssl_context()
    guard = AddressGuard(settings.allow_private_urls)
    spool_dir = settings.spool_dir or Path(tempfile.gettempdir())
    storage = Storage(
        bucket=settings.s3_bucket,
        endpoint_url=settings.s3_endpoint_url or None,
        region=settings.s3_region,
        access_key=access_key.get_secret_value() if access_key else None,
        secret_key=secret_key.get_secret_value() if secret_key else None,
        connect_seconds=min(10.0, settings.s3_timeout_seconds),
        read_seconds=settings.s3_timeout_seconds,
        max_connections=settings.worker_slots * 2,
    )
    # Of one account of the machine: another's answers in a shared directory are not ours to read.
    kept = (settings.spool_dir or Path(tempfile.gettempdir()) / f"genqueue-{os.getuid()}") / "replies"
    return Runtime(
        settings=settings,
        engine=open_engine(settings.database_url, application="genqueue worker", pool_size=_DB_THREADS + 4),
        storage=storage,
        replies=Replies(kept, storage, max_bytes=settings.max_reply_bytes),
        spool_dir=spool_dir,
        fetcher=Fetcher(
            guard,
            max_bytes=settings.max_image_bytes,
            total_seconds=settings.fetch_timeout_seconds,
            connect_seconds=settings.fetch_connect_seconds,
            spool_dir=spool_dir,
            user_agent=USER_AGENT,
            ssl_context=certificates,
        ),
        accounts=_accounts(settings, certificates),
        sender=Sender(f"{socket.gethostname()}-{secrets.token_hex(4)}", secrets.randbits(62)),
    )


def _accounts(settings: Settings, certificates: ssl.SSLContext) -> dict[str, Account]:
    found = {}
    for name, account in settings.accounts.items():
        if account.api_key is None:
            continue
        provider = catalog.get(account.provider)
        if account.brand_session_id and provider.name != "bloom":
            raise SettingsError(f"account {name!r} sets brand_session_id, which only Bloom has")
        base_url = _checked_base_url(name, account.base_url or provider.base_url, settings.allow_private_urls)
        post = PaidPost(
            timeout_seconds=account.timeout_seconds or provider.timeout_seconds,
            connect_seconds=settings.fetch_connect_seconds,
            ssl_context=certificates,
        )
        get = ApiGet(
            timeout_seconds=API_SECONDS, connect_seconds=settings.fetch_connect_seconds, ssl_context=certificates
        )
        means = WireSettings(base_url, account.api_key, post, get, account.media_without_url)
        found[name] = Account(name, provider, wire_for(provider.name, means), account, post, get, means)
    return found


def _checked_base_url(account: str, base_url: str, allowed: tuple[str, ...]) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"the base URL of account {account!r} is not an http(s) URL")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and parts.hostname not in allowed:
        raise SettingsError(
            f"the base URL of account {account!r} is plain http to {parts.hostname}: the API key would be readable; "
            "use https, or list the host in GENQUEUE_ALLOW_PRIVATE_URLS"
        )
    return base_url.rstrip("/")
