"""Lists on their way to PostgreSQL: every value arrives as it was, and one statement stays one prepared statement."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, text

from shared.db.engine import transaction
from shared.lifecycle import JobState

AWKWARD = ['say "hi"', "back\\slash", "NULL", "null", "", " ", "{a,b}", "a,b", "line\nbreak\ttab", "żółć 🎈", "'", None]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text[]", AWKWARD),
        ("text[]", []),
        ("text[]", [None, None]),
        ("uuid[]", [UUID(int=0), None, UUID(int=2**128 - 1)]),
        ("integer[]", [0, -1, 2**31 - 1, None]),
        ("bigint[]", [2**63 - 1, -(2**63)]),
        ("double precision[]", [0.1, -1e300, float("inf"), None]),
        ("numeric[]", [Decimal("12345678901234567890.000000001"), Decimal("-0.10"), None]),
        ("boolean[]", [True, False, None]),
        ("bytea[]", [b"", b'\x00\xff\\"', None]),
        ("timestamptz[]", [datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC), None]),
        ("integer[]", [[1, 2], [3, 4]]),
        ("text[]", [["a", "b"], ['"', None]]),
    ],
)
def test_every_value_of_a_list_arrives_as_it_was(engine: Engine, kind: str, values: list[Any]) -> None:
    with transaction(engine) as connection:
        assert connection.execute(text(f"SELECT CAST(:values AS {kind})"), {"values": values}).scalar_one() == values


def test_an_enum_in_a_list_is_written_as_its_value(engine: Engine) -> None:
    states = [JobState.QUEUED, None, JobState.FAILED]
    with transaction(engine) as connection:
        arrived = connection.execute(text("SELECT CAST(:states AS text[])"), {"states": states}).scalar_one()
    assert arrived == ["queued", None, "failed"]


def test_a_text_with_a_nul_is_an_error_and_never_cut_off(engine: Engine) -> None:
    with pytest.raises(Exception, match="NUL") as caught, transaction(engine) as connection:
        connection.execute(text("SELECT CAST(:values AS text[])"), {"values": ["whole", "cut\0off"]})
    assert isinstance(caught.value.__cause__, psycopg.DataError)


def test_one_statement_is_prepared_once_whatever_its_lists_contain(engine: Engine) -> None:
    statement = text("SELECT CAST(:codes AS text[]), CAST(:tries AS integer[])")
    with transaction(engine) as connection:
        for codes, tries in (([None], [1]), (["busy"], [1]), ([], []), (["busy"], [70_000]), ([None], [None])) * 6:
            connection.execute(statement, {"codes": codes, "tries": tries})
        prepared = connection.execute(text("SELECT count(*) FROM pg_prepared_statements WHERE statement ~ 'integer'"))
        assert prepared.scalar_one() == 1
