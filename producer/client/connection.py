"""A producer's connection to the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from types import TracebackType
from typing import Final, Self, TypeVar

from pydantic import SecretStr

from producer.client.turnstile import PlaceTimeoutError, Turnstile
from shared.db import schema
from shared.db.audit import Actor, AuditEntry
from shared.db.engine import Connection, DatabaseUnavailableError, open_engine, question, transaction
from shared.db.jobs import bulk, inbox
from shared.db.jobs.bulk import Which
from shared.db.jobs.lone_row import RecentPlaces
from shared.db.payments.offers import RecentOffers
from shared.db.read import pages
from shared.db.waking import wake
from shared.settings import Settings, load

_PLACE_SECONDS: Final = 30.0
_TRIES: Final = 5
_Value = TypeVar("_Value")


class NoSuchBatchError(LookupError):
    """There is no batch of that name."""

    def __init__(self, name: str, *, arriving: bool = False) -> None:
        what = "its rows wait for a worker to check them" if arriving else "`genqueue batches` lists them"
        super().__init__(f"there is no batch {name!r}; {what}")


class Connected:
    """The base of every part of a `Client`: its settings, and connections in a transaction."""

    def __init__(
        self,
        database_url: str | None = None,
        *,
        settings: Settings | None = None,
        actor: Actor | None = None,
        connections: int = 2,
        offers_seconds: float = 1,
    ) -> None:
        self.settings = settings or load()
        self.actor = actor or Actor.of_process("sdk")
        self._offers = RecentOffers(offers_seconds)
        self._places = RecentPlaces()
        self._turnstile = Turnstile(connections)
        url = SecretStr(database_url) if database_url else self.settings.database_url
        self._engine = open_engine(
            url,
            application="genqueue producer",
            pool_size=connections,
            schema=self.settings.database_schema,
            may_be_pooled=True,
        )
        try:
            schema.check(self._engine)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def acting_as(self, actor: Actor) -> Self:
        """Return a client on the same connections whose commands are audited as `actor`'s; close only the first."""
        other = copy(self)
        other.actor = actor
        return other

    @contextmanager
    def _connection(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """Open a transaction, or with `autocommit` a connection on which each statement is one (see `question`).

        Threads wait for it in the order in which they came. Raises `DatabaseUnavailableError`.
        """
        try:
            with (
                self._turnstile.place(_PLACE_SECONDS),
                (question if autocommit else transaction)(self._engine) as connection,
            ):
                yield connection
        except PlaceTimeoutError as error:
            raise DatabaseUnavailableError(f"each of this client's connections was in use: {error}") from error

    def _unless_locked_out(self, act: Callable[[Connection], _Value]) -> _Value:
        """Act in a transaction; retry if workers hold the same jobs, because then nothing was committed."""
        for _ in range(_TRIES - 1):
            try:
                with self._connection() as connection:
                    return act(connection)
            except DatabaseUnavailableError as error:
                if not bulk.locked_out(error):
                    raise
        with self._connection() as connection:
            return act(connection)

    def _until_none_is_left(self, some: Callable[..., int]) -> int:
        """Repeat `some(connection, wait=...)` in transactions until none is left; return the sum.

        The last transaction waits for what others have locked. Otherwise the command would end with jobs left out.
        """
        total = 0
        while done := self._in_line(some, wait=False) or self._in_line(some, wait=True):
            total += done
        return total

    def _in_line(self, some: Callable[..., int], *, wait: bool) -> int:
        with self._connection() as connection:
            done = some(connection, wait=wait)
            wake(connection)
        return done

    def _entry(self, act: str, which: Which, terms: str = "") -> AuditEntry:
        return AuditEntry(
            actor=self.actor,
            act=act,
            terms=terms,
            batch=which.batch,
            account=which.account,
            error_code=which.code,
            job=which.job,
        )

    def _require(self, connection: Connection, batch: str | None) -> None:
        if batch is not None and not pages.batch_exists(connection, batch):
            raise NoSuchBatchError(batch, arriving=inbox.has(connection, batch))
