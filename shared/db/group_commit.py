"""Commits many writes in one transaction; a write that fails is set aside, and the others count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.exc import DataError, DBAPIError

from shared.db.engine import Connection, Engine

_FINAL: Final = frozenset({"22", "23", "54"})  # SQLSTATE classes: data exception, integrity violation, limit exceeded
Item = TypeVar("Item")
R = TypeVar("R")
Work = Callable[[Connection], Any]


class TryAgainError(Exception):
    """One write failed for a reason that may pass: a lock, a full disk, a missing right.

    `sqlstate` is PostgreSQL's own code for it, None if the connection was lost.
    """

    def __init__(self, why: str, sqlstate: str | None = None) -> None:
        super().__init__(why)
        self.sqlstate = sqlstate


class WriteRefusedError(Exception):
    """PostgreSQL refuses the values of one write: out of range (22), in conflict (23), or too large (54)."""

    def __init__(self, why: str, sqlstate: str | None) -> None:
        super().__init__(f"{why}, SQLSTATE {sqlstate}" if sqlstate else why)
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class JointWrite(Generic[Item, R]):
    """One item of a write whose statements take many items at once; alone it is a work like any other.

    `write(connection, items)` returns one result for each item, in their order.
    """

    write: Callable[[Connection, Sequence[Item]], Sequence[R]]
    item: Item

    def __call__(self, connection: Connection) -> R:
        """Write the item alone."""
        return self.write(connection, [self.item])[0]


def commit_all(engine: Engine, works: Sequence[Work]) -> list[Any]:
    """Run `works` in one transaction and return each one's result or exception.

    Items of the same joint write are written together, in the place of the first. Raises if the connection was lost.
    Then nothing or everything may have been committed, so works must be safe to repeat. A work that PostgreSQL refuses
    comes back as `WriteRefusedError` or `TryAgainError`.
    """
    try:
        with engine.begin() as connection:
            return _run_together(connection, works)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
    except Exception:  # noqa: BLE001, S110 - nothing was committed; what it was is found out one by one
        pass
    return _commit_each(engine, works)


def _run_together(connection: Connection, works: Sequence[Work]) -> list[Any]:
    results: dict[int, Any] = {}
    for place, work in enumerate(works):
        if not isinstance(work, JointWrite):
            results[place] = work(connection)
        elif place not in results:
            beside = [other for other in range(place, len(works)) if _are_joined(work, works[other])]
            items = [works[other].item for other in beside]  # type: ignore[attr-defined]
            results |= zip(beside, work.write(connection, items), strict=True)
    return [results[place] for place in range(len(works))]


def _are_joined(one: JointWrite[Any, Any], other: Work) -> bool:
    return isinstance(other, JointWrite) and other.write == one.write


def _commit_each(engine: Engine, works: Sequence[Work]) -> list[Any]:
    """Do as `commit_all`, each work in a savepoint, so that one which fails is set aside and the others count.

    A savepoint costs as much as a statement, so that it is made only once something failed.
    """
    results: list[Any] = []
    with engine.begin() as connection:
        for work in works:
            try:
                with connection.begin_nested():
                    results.append(work(connection))
            except DBAPIError as error:
                if error.connection_invalidated or connection.invalidated:
                    raise
                results.append(_judged(error))
            except Exception as error:  # noqa: BLE001 - handed back to the one who asked for this write
                results.append(error)
    return results


def _judged(error: DBAPIError) -> WriteRefusedError | TryAgainError:
    """Distinguish values that PostgreSQL, or its client, never accepts from a fault that may pass."""
    sqlstate = getattr(error.orig, "sqlstate", None)
    name = type(error.orig).__name__
    # Without a code the client itself refused to send them, such as text with a null character.
    final = sqlstate[:2] in _FINAL if sqlstate else isinstance(error, DataError)
    return WriteRefusedError(name, sqlstate) if final else TryAgainError(name, sqlstate)
