"""`enqueue_in` on connections of the caller's own: each driver's, committed and rolled back with the caller."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal

import asyncpg
import django
import django.conf
import psycopg
import pytest
from django.db.utils import ConnectionHandler
from psycopg.rows import dict_row
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from producer import HandedIn, InvalidRowsError, enqueue_in, enqueue_in_async
from shared.db.engine import Engine
from tests.support import rows
from tests.support.outcome import BLOOM

ROWS: list[dict[str, Any]] = [{"custom_id": "a", **BLOOM}, {"custom_id": "b", **BLOOM, "n": 2, "priority": 5}]
WORK = "INSERT INTO public.orders VALUES (1)"


@pytest.fixture
def plain_url(database_url: str, engine: Engine) -> Iterator[str]:
    """The URL of an application that has a table of its own in the same database."""
    rows.rows(engine, "CREATE TABLE public.orders (id integer)")
    yield database_url
    rows.rows(engine, "DROP TABLE public.orders")


def kept(engine: Engine) -> tuple[int, int]:
    (row,) = rows.rows(engine, "SELECT (SELECT count(*) FROM public.orders), (SELECT count(*) FROM inbox)")
    return tuple(row)


End = Literal["commit", "rollback"]


def by_psycopg(url: str, end: End) -> list[HandedIn]:
    with psycopg.connect(url) as connection:
        connection.execute(WORK)
        done = enqueue_in(connection, ROWS, batch="shop")
        getattr(connection, end)()
        return done


def by_psycopg_with_dictionaries(url: str, end: End) -> list[HandedIn]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute(WORK)
        done = enqueue_in(connection, ROWS, batch="shop")
        getattr(connection, end)()
        return done


def by_sqlalchemy(url: str, end: End) -> list[HandedIn]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.execute(text(WORK))
        done = enqueue_in(connection, ROWS, batch="shop")
        getattr(connection, end)()
    engine.dispose()
    return done


def by_a_session(url: str, end: End) -> list[HandedIn]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with Session(engine) as session:
        session.execute(text(WORK))
        done = enqueue_in(session, ROWS, batch="shop")
        getattr(session, end)()
    engine.dispose()
    return done


def by_django(url: str, end: End) -> list[HandedIn]:
    if not django.conf.settings.configured:
        django.conf.settings.configure(USE_TZ=True)
        django.setup()
    at = make_url(url)
    handler = ConnectionHandler(
        {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": at.database,
                "USER": at.username,
                "PASSWORD": at.password,
                "HOST": at.host,
                "PORT": at.port,
            }
        }
    )
    connection = handler["default"]
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(WORK)
    done = enqueue_in(connection, ROWS, batch="shop")
    getattr(connection, end)()
    connection.close()
    return done


async def _psycopg(url: str, end: End) -> list[HandedIn]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(WORK)
        done = await enqueue_in_async(connection, ROWS, batch="shop")
        await getattr(connection, end)()
        return done


async def _asyncpg(url: str, end: End) -> list[HandedIn]:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(WORK)
    done = await enqueue_in_async(connection, ROWS, batch="shop")
    await getattr(transaction, end)()
    await connection.close()
    return done


async def _asyncpg_pool(url: str, end: End) -> list[HandedIn]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(WORK)
        done = await enqueue_in_async(connection, ROWS, batch="shop")
        await getattr(transaction, end)()
        return done


def _sqlalchemy(driver: str) -> Callable[[str, End], Awaitable[list[HandedIn]]]:
    async def run(url: str, end: End) -> list[HandedIn]:
        engine = create_async_engine(make_url(url).set(drivername=driver))
        async with engine.connect() as connection:
            await connection.execute(text(WORK))
            done = await enqueue_in_async(connection, ROWS, batch="shop")
            await getattr(connection, end)()
        await engine.dispose()
        return done

    return run


async def _async_session(url: str, end: End) -> list[HandedIn]:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    async with AsyncSession(engine) as session:
        await session.execute(text(WORK))
        done = await enqueue_in_async(session, ROWS, batch="shop")
        await getattr(session, end)()
    await engine.dispose()
    return done


def in_loop(work: Callable[[str, End], Any]) -> Callable[[str, End], list[HandedIn]]:
    return lambda url, end: asyncio.run(work(url, end))


DRIVERS = {
    "psycopg": by_psycopg,
    "psycopg, rows as dictionaries": by_psycopg_with_dictionaries,
    "SQLAlchemy": by_sqlalchemy,
    "SQLAlchemy Session": by_a_session,
    "Django": by_django,
    "psycopg async": in_loop(_psycopg),
    "asyncpg": in_loop(_asyncpg),
    "asyncpg pool": in_loop(_asyncpg_pool),
    "SQLAlchemy on asyncpg": in_loop(_sqlalchemy("postgresql+asyncpg")),
    "SQLAlchemy on psycopg async": in_loop(_sqlalchemy("postgresql+psycopg")),
    "SQLAlchemy AsyncSession": in_loop(_async_session),
}


@pytest.mark.parametrize("driver", DRIVERS)
def test_rows_commit_and_roll_back_with_the_work_beside_them(driver: str, plain_url: str, engine: Engine) -> None:
    run = DRIVERS[driver]
    assert [(one.custom_id, one.added) for one in run(plain_url, "rollback")] == [("a", True), ("b", True)]
    assert kept(engine) == (0, 0)
    first = run(plain_url, "commit")
    assert kept(engine) == (1, 2)
    again = run(plain_url, "commit")
    assert kept(engine) == (2, 2)
    assert [(one.job_id, one.added) for one in again] == [(one.job_id, False) for one in first]


def test_a_bad_row_is_refused_before_anything_is_sent(plain_url: str, engine: Engine) -> None:
    with (
        psycopg.connect(plain_url) as connection,
        pytest.raises(InvalidRowsError, match="row 2, custom_id: is missing"),
    ):
        enqueue_in(connection, [ROWS[0], BLOOM], batch="shop")
    with psycopg.connect(plain_url) as connection, pytest.raises(InvalidRowsError, match="row 1, n: must be a whole"):
        enqueue_in(connection, [{**ROWS[0], "n": 99}], batch="shop")
    assert kept(engine) == (0, 0)


def test_a_changed_row_under_the_same_custom_id_is_a_unique_violation(plain_url: str, engine: Engine) -> None:
    by_psycopg(plain_url, "commit")
    made = create_engine(make_url(plain_url).set(drivername="postgresql+psycopg"))
    with made.connect() as connection, pytest.raises(IntegrityError, match="already holds a with a different request"):
        enqueue_in(connection, [{**ROWS[0], "prompt": "another"}], batch="shop")
    made.dispose()


def test_more_rows_than_one_call_takes_go_in_several(plain_url: str, engine: Engine) -> None:
    with psycopg.connect(plain_url) as connection:
        done = enqueue_in(connection, ({"custom_id": f"n{at}", **BLOOM} for at in range(2500)), batch="shop")
    assert (len({one.job_id for one in done}), kept(engine)) == (2500, (0, 2500))


def test_a_connection_of_the_wrong_kind_is_told_which_function_to_call(plain_url: str) -> None:
    async def wrong() -> None:
        async with await psycopg.AsyncConnection.connect(plain_url) as connection:
            with pytest.raises(TypeError, match="await enqueue_in_async instead"):
                enqueue_in(connection, ROWS, batch="shop")

    asyncio.run(wrong())
    with psycopg.connect(plain_url) as connection, pytest.raises(TypeError, match="no asynchronous connection"):
        asyncio.run(enqueue_in_async(connection, ROWS, batch="shop"))
    with pytest.raises(TypeError, match=r"builtins\.object is no connection"):
        enqueue_in(object(), ROWS, batch="shop")
