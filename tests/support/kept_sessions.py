"""Sessions with PostgreSQL that outlive a test: a new one plans every statement anew, for 30 ms of the server's CPU.

A session serves one database for the whole run. What a test set in it is undone when its engine closes it; only what is
no state remains, the server's plans and its knowledge of our tables.
"""

import select
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
import pytest
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

_UNDO: Final = b"""
CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ALL; UNLISTEN *; SELECT pg_advisory_unlock_all();
DISCARD TEMP; DISCARD SEQUENCES
"""

# The name is one that the database was lent under once. How values are adapted, every engine says in the same words.
_OF_NO_MATTER: Final = {"dbname", "context"}
_MOST: Final = 12

Session = psycopg.Connection[Any]
Place = tuple[Any, Any]


class Shelf:
    """The sessions of one database that no engine has now, by the arguments that they were made with."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Session]] = {}
        self._lock = threading.Lock()

    def take(self, terms: str) -> Session | None:
        """Return a session that was made with `terms` and lives."""
        with self._lock:
            kept = self._kept.get(terms, [])
            while kept:
                session = kept.pop()
                if not _has_ended(session):
                    return session
                session.close()
        return None

    def put(self, terms: str, session: Session) -> bool:
        """Keep a session; False where there are enough."""
        with self._lock:
            kept = self._kept.setdefault(terms, [])
            if len(kept) < _MOST:
                kept.append(session)
                return True
        return False

    def processes(self) -> list[int]:
        """Return the server's processes behind these sessions."""
        with self._lock:
            return [session.info.backend_pid for kept in self._kept.values() for session in kept]

    def close(self) -> None:
        with self._lock:
            for kept in self._kept.values():
                while kept:
                    kept.pop().close()


class KeptSessions:
    """Gives engines the sessions of the databases that are lent now, and takes them back as they were made."""

    def __init__(self) -> None:
        self._lent: dict[Place, Shelf | None] = {}
        self._out: WeakKeyDictionary[Session, tuple[Place, Shelf, str]] = WeakKeyDictionary()

    def forget(self, url: str) -> None:
        """End what is kept of the database at `url`: a test changes what it tells new sessions."""
        if shelf := self._lent[_place(url)]:
            shelf.close()

    @contextmanager
    def lent(self, url: str, shelf: Shelf | None) -> Iterator[None]:
        """Keep the sessions of the database at `url` on `shelf` for as long as this lasts."""
        place = _place(url)
        self._lent[place] = shelf
        try:
            yield
        finally:
            del self._lent[place]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        connect, close = PGDialect_psycopg.connect, PGDialect_psycopg.do_close

        def take(dialect: PGDialect_psycopg, *_: Any, **given: Any) -> Any:
            def new() -> Any:
                return connect(dialect, **given)

            return new() if dialect.is_async else self._connect(new, given)

        def give_back(dialect: PGDialect_psycopg, session: Any) -> None:
            if not self._take_back(session):
                close(dialect, session)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PGDialect_psycopg, "connect", take)
            patch.setattr(PGDialect_psycopg, "do_close", give_back)
            yield

    def _connect(self, connect: Callable[[], Session], given: Mapping[str, Any]) -> Session:
        place = given.get("port"), given.get("dbname")
        shelf = self._lent.get(place)
        if shelf is None:
            return connect()
        terms = repr(sorted((key, value) for key, value in given.items() if key not in _OF_NO_MATTER))
        session = shelf.take(terms) or connect()
        self._out[session] = place, shelf, terms
        return session

    def _take_back(self, session: Session) -> bool:
        """Put a session on the shelf that it is from; False if it has to be closed."""
        if session not in self._out:
            return False
        place, shelf, terms = self._out.pop(session)
        return self._lent.get(place) is shelf and _undone(session) and shelf.put(terms, session)


def _place(url: str) -> Place:
    made = make_url(url)
    return made.port, made.database


def _has_ended(session: Session) -> bool:
    """Tell whether the server has ended a session: nothing else is sent unasked once it listens to nothing."""
    if session.closed:
        return True
    said = select.poll()
    said.register(session.fileno(), select.POLLIN)
    return bool(said.poll(0))


def _undone(session: Session) -> bool:
    """Undo what was set in a session; False where it is in the middle of something, or has ended."""
    if session.closed or session.info.transaction_status != TransactionStatus.IDLE:
        return False
    try:
        return session.pgconn.exec_(_UNDO).status in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}
    except psycopg.Error:
        return False
