"""Text with line ends of Unicode goes through every stream of lines: JSON Lines, events, and the client's reader."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from genqueue_client import AsyncClient
from genqueue_client import Client as ApiClient
from genqueue_client.calls import Results
from hypothesis import given
from hypothesis import strategies as st

from producer import Client
from producer.json_lines import json_line
from shared.tokens import Scope
from tests.support.api import bearer, serving
from tests.support.command import genqueue
from tests.support.outcome import BLOOM
from worker import event_loop

ROW: dict[str, Any] = {"provider": "bloom", "prompt": "a quiet harbour", "batch": "shop"}
ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r\n"
"""Everything that `str.splitlines` takes for the end of a line."""
LINE_ENDS = pytest.mark.parametrize("end", ["\u2028", "\u2029"], ids=ascii)


@pytest.fixture
def served(alice: Client) -> Iterator[tuple[str, str]]:
    """The API's address and a token."""
    with serving(alice) as http:
        yield str(http.base_url), bearer(alice)["Authorization"].removeprefix("Bearer ")


@given(st.lists(st.text(ENDS + 'a"\\é', max_size=6), min_size=1))
def test_a_value_is_one_line_whatever_is_in_it(texts: list[str]) -> None:
    line = json_line(texts)
    assert line.splitlines(keepends=True) == [line]
    assert json.loads(line) == texts


@given(
    st.lists(st.tuples(st.integers(0, 2), st.text(ENDS + "aé", max_size=4)), max_size=8),
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
def test_the_client_puts_lines_together_wherever_the_stream_was_cut(
    jobs: list[tuple[int, str]], cuts: list[int]
) -> None:
    rows = [{"job_id": str(job), "metadata": text} for job, text in sorted(jobs)]
    stream = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    found, got = Results(), list[object]()
    while stream:
        size = cuts[len(stream) % len(cuts)]
        got += found.take(stream[:size])
        stream = stream[size:]
    assert got + found.rest() == rows
    assert found.after == (rows[-1]["job_id"] if rows else None)


@LINE_ENDS
def test_results_whose_metadata_has_a_line_end_are_read(served: tuple[str, str], end: str) -> None:
    facts = {"sku": f"x{end}y"}
    with ApiClient(*served) as api:
        for custom_id, metadata in (("a", facts), ("b", None)):
            api.submit(**ROW, custom_id=custom_id, metadata=metadata)
        assert [row["metadata"] for row in api.results("shop")] == [facts, {}]

    async def work() -> None:
        async with AsyncClient(*served) as waiting:
            assert [row["metadata"] async for row in waiting.results("shop")] == [facts, {}]

    event_loop.run(work)


@LINE_ENDS
def test_no_stream_of_lines_has_another_line_end_than_a_line_feed(alice: Client, database_url: str, end: str) -> None:
    alice.enqueue([{**BLOOM, "custom_id": "a", "metadata": {"sku": f"x{end}y"}}], batch="shop")
    ran = genqueue("results", "shop", "--json", env={"GENQUEUE_DATABASE_URL": database_url})
    with serving(alice) as http:
        answer = http.get("/v1/batches/shop/results", headers=bearer(alice, Scope.RESULTS_READ))
    assert [len(text.splitlines()) for text in (ran.out, answer.text)] == [1, 1]
