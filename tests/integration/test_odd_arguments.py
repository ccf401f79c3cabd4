"""Odd arguments of commands: each is refused in words, with exit code 2, and nothing is changed."""

from pathlib import Path

import pytest

from producer import Client
from shared.db.engine import Engine
from tests.support import rows
from tests.support.command import genqueue

DIGITS = "9" * 5000
WEBHOOK_KEY = {"GENQUEUE_WEBHOOK_KEY": "k" * 44}


@pytest.mark.parametrize(
    "time",
    ["99999999999d", "3651d", f"{DIGITS}d", "0s", "0.0h", "-1d", "1e9d", "inf", "nan d", "٣d", "", "1d1h"],
    ids=ascii,
)
def test_a_deadline_that_is_no_time_of_ours_is_refused(engine: Engine, database_url: str, time: str) -> None:
    rows.add(engine, [rows.new_job("a")])
    before = rows.rows(engine, "SELECT deadline_at FROM job")
    shown = genqueue("deadline", "b", "--", time, env={"GENQUEUE_DATABASE_URL": database_url})
    assert (shown.code, "Traceback" in shown.err) == (2, False)
    assert rows.rows(engine, "SELECT deadline_at FROM job") == before


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan"), 1e12])
def test_a_program_gets_a_value_error_for_such_a_deadline(engine: Engine, client: Client, seconds: float) -> None:
    rows.add(engine, [rows.new_job("a")])
    with pytest.raises(ValueError, match="at most ten years"):
        client.set_deadline("b", seconds)


@pytest.mark.parametrize("url", ["https://[::1", "https://a.example:99999/", "https:///x", "https://%zz/", "x"])
def test_a_webhook_that_can_never_be_posted_to_is_refused_before_it_is_added(
    engine: Engine, database_url: str, url: str
) -> None:
    shown = genqueue("webhook", "add", url, env={"GENQUEUE_DATABASE_URL": database_url, **WEBHOOK_KEY})
    assert (shown.code, "Traceback" in shown.err) == (2, False)
    assert "a webhook's URL" in shown.err
    assert rows.rows(engine, "SELECT 1 FROM endpoint") == []


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_a_number_of_thousands_of_digits_is_a_fault_of_its_row(database_url: str, tmp_path: Path, ending: str) -> None:
    row = f'{{"custom_id": "a", "provider": "bloom", "prompt": "x", "n": {DIGITS}}}'
    (tmp_path / f"rows.{ending}").write_text(f"[{row}]" if ending == "json" else row)
    for command in ("plan", "enqueue"):
        shown = genqueue(
            command, f"rows.{ending}", "--batch", "b", env={"GENQUEUE_DATABASE_URL": database_url}, cwd=tmp_path
        )
        assert (shown.code, "Traceback" in shown.err) == (2, False)
        assert "contains a number with too many digits" in shown.err
