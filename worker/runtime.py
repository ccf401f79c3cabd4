"""The resources of every stage, made once per process: database, bucket, links, accounts, and the event loop."""

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import anyio
import anyio.to_thread
import httpx
from anyio.abc import TaskGroup
from pydantic import SecretStr

from shared.db.engine import Connection, Engine, open_engine, question, transaction
from shared.db.group_commit import JointWrite, commit_all
from shared.db.pauses import Probing
from shared.db.payments.intents import Sender
from shared.db.payments.offers import Book
from shared.db.purpose import Purpose
from shared.lifecycle import Stage
from shared.settings import Settings, SettingsError
from worker.evidence import private_files
from worker.evidence.committer import Committer, Keepsake
from worker.evidence.evidence_files import Evidence
from worker.evidence.private_files import NotOursError
from worker.evidence.replies import Replies
from worker.leases import leases
from worker.metrics import WorkerMetrics
from worker.next_step import DecisionInputs
from worker.next_step.learned import LearnedTime, Span
from worker.served_accounts import ServedAccount, serve_accounts
from worker.transport.address_guard import AddressGuard
from worker.transport.download import Fetcher
from worker.transport.quick_put import QuickPut
from worker.transport.storage import Storage
from worker.transport.transfer_slots import TransferSlots
from worker.troubles import BUCKET, Troubles

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
USER_AGENT = "genqueue"
_DB_THREADS = 8
_BUCKET_GATE_SECONDS = 20.0
_QUICK_PUT_SECONDS = 10.0  # within the slack of a claim; then `Storage.put` has its whole time


@dataclass(slots=True)
class Runtime:
    """The resources of one worker process. Made by `open_runtime`; `start` on the loop, `close` at the end."""

    settings: Settings
    engine: Engine
    storage: Storage
    quick_put: QuickPut
    fetcher: Fetcher
    accounts: dict[str, ServedAccount]
    sender: Sender
    replies: Replies
    evidence: Evidence
    spool_dir: Path
    random: Random = field(default_factory=Random)
    looked: dict[str, Any] = field(default_factory=dict)
    """By account, the last reading of its provider's list (`worker.lost_calls.listing.ListReading`)."""
    times: Mapping[str, Mapping[str, LearnedTime]] = field(default_factory=dict)
    """By account and model, how long jobs took lately. It is replaced, never changed: several threads read it."""
    seen_open: dict[UUID, float] = field(default_factory=dict)
    """By job, its age in seconds at the last look of this process, which found it open."""
    parcels: int = 0
    """How many parcels of jobs this process has begun."""
    leases: Mapping[Stage, float] = field(init=False)
    """By stage, the seconds that a claim lasts which it has begun."""
    committer: Committer = field(init=False)
    transfers: TransferSlots = field(init=False)
    threads: anyio.CapacityLimiter = field(init=False)
    transfers_threads: anyio.CapacityLimiter = field(init=False)
    books: dict[str, Book] = field(default_factory=dict, init=False)
    troubles: Troubles = field(default_factory=Troubles, init=False)
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics, init=False)
    _refused_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self.leases = leases(self.settings)

    def start(self, group: TaskGroup) -> None:
        """Begin committing on the loop of the caller."""
        self.transfers = TransferSlots(self.settings.worker_slots * 2, self.accounts)
        self.threads = anyio.CapacityLimiter(_DB_THREADS)
        self.transfers_threads = anyio.CapacityLimiter(self.settings.worker_slots * 2)
        self.committer = Committer(partial(commit_all, self.engine), random=self.random)
        self.committer.start(group)

    # These are no coroutines themselves, and return that of what they call: it is not run through here again and again.

    def in_transaction(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]:
        """Run `work(connection, ...)` in one transaction in a thread and return its result, without retries."""

        def run() -> T:
            with transaction(self.engine) as connection:
                return work(connection, *args, **kwargs)

        return anyio.to_thread.run_sync(run, limiter=self.threads)

    def one_statement(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]:
        """Run one statement, which may write, without BEGIN and COMMIT around it; see `question`."""

        def run() -> T:
            with question(self.engine) as connection:
                return work(connection, *args, **kwargs)

        return anyio.to_thread.run_sync(run, limiter=self.threads)

    def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """Run `work`, which reads or writes files or objects, in a thread."""
        return anyio.to_thread.run_sync(partial(work, *args, **kwargs), limiter=self.transfers_threads)

    def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]:
        """Commit `work(connection, ...)`, however long the database is unavailable. `work` must be safe to repeat.

        Raises `NotCommittedError` and `WriteRefusedError` as `Committer.write` does.
        """
        return self.write_kept(None, work, *args, **kwargs)

    def write_kept(
        self,
        keepsake: Keepsake | None,
        work: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, T]:
        """Commit like `write`. Before this raises, the evidence in `keepsake` is in a safe place."""
        return self.committer.write(lambda connection: work(connection, *args, **kwargs), keepsake)

    def write_joined(
        self, work: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item, keepsake: Keepsake | None = None
    ) -> Coroutine[Any, Any, T]:
        """Commit `item` like `write_kept`, in the same statements as other items of `work` that wait with it."""
        return self.committer.write(JointWrite(work, item), keepsake)

    def decision_inputs(self, account: ServedAccount) -> DecisionInputs:
        """Return the inputs of decisions about jobs of `account`."""
        return DecisionInputs(
            settings=self.settings,
            random=self.random,
            title=account.provider.title,
            key_id=account.key_id,
            find_by=account.wire.find_by,
            can_look=account.can_look,
            inline=account.wire.inline,
            slack_seconds=account.slack_seconds,
            transfer_lease=self.leases[Stage.TRANSFER],
            times=self.times.get(account.name, {}),
        )

    def learn(self, account: str, known: Mapping[str, Sequence[Span]]) -> None:
        """Use the spans of an account's models from now on."""
        learned = {model: LearnedTime(spans) for model, spans in known.items()}
        self.times = {**self.times, account: {**self.times.get(account, {}), **learned}}

    @property
    def stuck_seconds(self) -> float:
        """Seconds that the oldest write has waited for the database; 0 before the loop is started."""
        committer: Committer | None = getattr(self, "committer", None)
        return committer.stuck_seconds if committer else 0.0

    def bucket_refused(self, said: str = "it refuses") -> None:
        """Record that the bucket refuses: for a while, nothing is bought that must be copied at once."""
        self._refused_at = time.monotonic()
        self.troubles.note(BUCKET, said)

    def bucket_took(self) -> None:
        """Record that the bucket accepts objects."""
        self._refused_at = float("-inf")
        self.troubles.over(BUCKET)

    @property
    def bucket_is_refusing(self) -> bool:
        """Whether the bucket refused within the last seconds."""
        return time.monotonic() - self._refused_at < _BUCKET_GATE_SECONDS

    async def close(self) -> None:
        """Close every connection."""
        await self.fetcher.close()
        await self.quick_put.close()
        for account in self.accounts.values():
            await account.post.close()
            await account.get.close()
        self.engine.dispose()

    def book(self, account: ServedAccount) -> Book:
        """Return the offers of `account` as of the last refresh of its book."""
        return self.books.setdefault(account.name, Book(account.name))

    def quiet_after(self, account: ServedAccount) -> float:
        """Seconds from an intent until no purchase of its call can still appear at the provider."""
        return self.settings.send_within_seconds + account.timeout_seconds + account.quiet_seconds

    def most_for(self, account: ServedAccount) -> Decimal | None:
        """Return the highest believable cost of one call of `account`; None for credits, whose prices are listed."""
        return self.settings.max_call_cost if account.provider.unit == "USD" else None

    @property
    def purpose(self) -> Purpose:
        """The purpose that a database must have for this worker's accounts."""
        return Purpose.TRIAL if self.settings.trial else Purpose.REAL

    @property
    def probing(self) -> Probing:
        """How often a paused account is probed."""
        return Probing(self.settings.probe_first_seconds, self.settings.probe_max_seconds)


def open_runtime(settings: Settings, *, access_key: SecretStr | None, secret_key: SecretStr | None) -> Runtime:
    """Make a worker's resources from its settings; S3 keys None = the standard AWS chain.

    Raises `SettingsError`, which names what is missing or wrong.
    """
    certificates = httpx.create_ssl_context()
    guard = AddressGuard(settings.allow_private_urls)
    spool_dir = _spool(settings)
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
    return Runtime(
        settings=settings,
        engine=open_engine(
            settings.database_url,
            application="genqueue worker",
            pool_size=_DB_THREADS + 4,
            schema=settings.database_schema,
            plan_once=True,
        ),
        storage=storage,
        quick_put=QuickPut(
            connections=settings.worker_slots * 2,
            seconds=min(_QUICK_PUT_SECONDS, settings.s3_timeout_seconds, settings.lease_slack_seconds / 2),
            ssl_context=certificates,
        ),
        replies=Replies(
            spool_dir / "replies",
            storage,
            max_bytes=settings.max_reply_bytes,
            old_directory=None if settings.spool_dir else _old_replies(),
        ),
        evidence=Evidence(spool_dir / "evidence", storage),
        spool_dir=spool_dir,
        fetcher=Fetcher(
            guard,
            max_bytes=settings.max_image_bytes,
            total_seconds=settings.fetch_timeout_seconds,
            connect_seconds=settings.fetch_connect_seconds,
            least_speed=settings.fetch_least_bytes_per_second,
            spool_dir=spool_dir,
            user_agent=USER_AGENT,
            ssl_context=certificates,
        ),
        accounts=serve_accounts(settings, certificates),
        sender=Sender(f"{socket.gethostname()}-{secrets.token_hex(4)}", secrets.randbits(62)),
    )


def spool_directory(settings: Settings) -> Path:
    """Return the directory for results and kept answers; it is never a shared directory."""
    return (settings.spool_dir or settings.home / "spool").absolute()


def _spool(settings: Settings) -> Path:
    """Create and check the spool directory and return it; raises `SettingsError` if others could change it."""
    path = spool_directory(settings)
    try:
        private_files.make_private(path, tighten=settings.spool_dir is None)
        private_files.make_private(path / "replies", tighten=True)
    except NotOursError as error:
        raise SettingsError(f"this worker keeps paid answers in {path}, and does not start: {error}") from None
    except OSError as error:
        raise SettingsError(
            f"this worker cannot keep paid answers in {path} ({error.strerror or error}): "
            "set GENQUEUE_SPOOL_DIR to a directory that only you can write"
        ) from None
    return path


def _old_replies() -> Path:
    """Return the default directory in which older versions kept answers."""
    return Path(tempfile.gettempdir()) / f"genqueue-{os.getuid()}" / "replies"
