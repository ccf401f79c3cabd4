"""What the commands for people show: tables that fit, reasons in words, and a watch that outlives its database."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from producer import Client
from producer.cli import patient
from producer.cli.watch import follow
from shared.db.engine import DatabaseUnavailableError
from tests.support.command import Ran, genqueue
from tests.support.drain import drain
from tests.support.outcome import BLOOM, GETIMG, ended
from worker.runtime import Runtime

Run = Callable[..., Ran]
LONG = "a very long prompt about a harbour at dawn, with boats, gulls and a lighthouse in the fog far away"


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    env = {"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "80"}
    return lambda *arguments: genqueue(*arguments, env=env, cwd=tmp_path)


def test_lists_fit_80_columns_and_say_cost_prompt_and_reason(client: Client, runtime: Runtime, run: Run) -> None:
    refused = {**GETIMG, "prompt": f"[sim:moderated] {LONG}", "custom_id": "refused"}
    client.enqueue([{**BLOOM, "prompt": LONG, "custom_id": "one", "n": 2}, refused], batch="b")
    drain(runtime, ended(client))
    jobs = run("jobs", "b").out.splitlines()
    assert jobs[0].split() == ["custom", "id", "provider", "state", "cost", "prompt"]
    assert jobs[1].startswith("one        bloom     succeeded  2 credit  a very long prompt")
    assert jobs[3].startswith("    content_refused: the provider's safety check refused the prompt")
    chosen = run("jobs", "b", "--columns", "custom_id,images", "--state", "succeeded").out.split("\n")
    assert chosen[:2] == ["custom id  images", "one             2"]
    images = run("images", "b").out.splitlines()
    assert [line.split()[:3] for line in images if line.startswith("one")] == [
        ["one", "1", "stored"],
        ["one", "2", "stored"],
    ]
    results = run("results", "b", "--format", "table").out.splitlines()
    assert max(map(len, (*jobs, *chosen, *results))) <= 80
    for file in ("r.csv", "r.jsonl"):
        written = run("results", "b", "-o", file)
        assert (written.out, written.err) == ("", f"3 rows of batch b in {file}\n")
    assert run("jobs", "b", "--columns", "colour").code == 2
    assert json.loads(run("jobs", "b", "--json").out.splitlines()[0])["prompt"] == LONG


def test_the_end_of_a_batch_says_money_time_and_the_next_command(client: Client, runtime: Runtime, run: Run) -> None:
    refused = {**GETIMG, "prompt": "[sim:moderated] no", "custom_id": "refused"}
    client.enqueue([{**BLOOM, "custom_id": "a"}, {**BLOOM, "custom_id": "b"}, refused], batch="b", max_cost=["bloom=1"])
    drain(runtime, ended(client))
    watched = run("watch", "b")
    assert watched.code == 3
    assert "b: 1 of 3 jobs succeeded, 1 image stored, in " in watched.err
    assert "bloom: 1 of at most 1 credit spent" in watched.err
    assert "1 failed: the provider's safety check refused the prompt (content_refused)" in watched.err
    assert "1 on hold: " in watched.err
    assert "genqueue cap b bloom=AMOUNT" in watched.err


def test_batches_are_listed_newest_first_and_bounded(client: Client, run: Run) -> None:
    for name in ("first", "second", "third"):
        client.enqueue([BLOOM], batch=name)
    lines = run("batches", "--limit", "2").out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["third", "second"]
    assert "1 older batch;" in lines[3]


def test_a_watch_outlives_a_database_that_is_away_for_a_while(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client.enqueue([BLOOM], batch="b")
    client.cancel(batch="b")
    monkeypatch.setattr(patient, "_BETWEEN_SECONDS", 0.0)
    away = iter([DatabaseUnavailableError("PostgreSQL does not answer")] * 2)

    class Flaky:
        def settling(self, batch: str) -> tuple[dict[str, int], bool]:
            for error in away:
                raise error
            return client.settling(batch)

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

    assert follow(cast("Client", Flaky()), "b") == 3
    assert capsys.readouterr().err.count("PostgreSQL does not answer; the batch is safe, asking again") == 1


def test_a_resume_of_an_account_that_was_not_paused_says_so(client: Client, run: Run) -> None:
    client.enqueue([BLOOM], batch="b")
    client.pause("bloom", "a test")
    assert run("resume", "bloom").err == "bloom takes jobs again\n"
    assert run("resume", "bloom").err == "bloom was not paused\n"


def test_the_same_fault_of_many_lines_is_told_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,n\n" + "a mug,1\n" * 500 + "a bowl,99\n")
    told = run("plan", "rows.csv").err.splitlines()
    assert told[0].startswith("lines 2, 3, 4 and 498 more, provider: is missing")
    assert told[1].startswith("line 502, n: must be a whole number")
    assert told[-1] == "error: 502 faults; nothing was enqueued"
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a mug"\n')
    assert run("plan", "rows.jsonl").err.startswith("line 1: is not valid JSON")
    assert "did you mean bloom?" in run("plan", "rows.csv", "--provider", "blom").err
