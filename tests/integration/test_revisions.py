"""Edited rows, samples and repeats: what is bought anew, what is not, and what a person is told before they pay."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from producer import Client
from producer.prompts import RowRules
from shared.db.engine import Engine, transaction
from shared.db.jobs.enqueue import EnqueueConflictError
from shared.db.jobs.transitions import Move, move
from shared.lifecycle import JobState
from tests.integration.test_retention import prune_all
from tests.support import aged, rows
from tests.support.command import Ran, genqueue

Run = Callable[..., Ran]
FILE = "custom_id,prompt\na,a mug\nb,a bowl\nc,a vase\n"
EDITED = FILE.replace("a bowl", "a blue bowl")


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    return lambda *arguments: genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url}, cwd=tmp_path)


@pytest.fixture
def add(client: Client, tmp_path: Path) -> Callable[..., int]:
    def added(content: str, **more: object) -> int:
        (tmp_path / "rows.csv").write_text(content)
        return client.enqueue_file(tmp_path / "rows.csv", batch="b", provider="bloom", **more).added  # type: ignore[arg-type]

    return added


def ids(client: Client) -> list[str]:
    return [row["custom_id"] for row in client.jobs("b")]


def test_an_edited_row_is_a_new_revision_and_the_same_file_again_adds_nothing(
    client: Client, add: Callable[..., int]
) -> None:
    assert add(FILE) == 3
    with pytest.raises(EnqueueConflictError, match="give a changed one a custom_id of its own"):
        add(EDITED)
    assert [add(EDITED, changed=True), add(EDITED, changed=True)] == [1, 0]
    assert ids(client) == ["a", "b", "c", "b@2"]
    assert add(FILE, changed=True) == 0, "what was asked for before is not bought again"
    assert add(EDITED.replace("blue", "red"), changed=True) == 1
    assert ids(client)[-1] == "b@3"


def leave(engine: Engine, client: Client, *custom_ids: str) -> None:
    """Let jobs end long ago, and leave."""
    for custom_id in custom_ids:
        job = client.find_job(f"b/{custom_id}")
        client.cancel(job=job)
        aged.age(engine, job, 400)
    assert prune_all(engine) == len(custom_ids)


@pytest.mark.parametrize(
    ("left", "again"),
    [
        (("b",), "blue"),
        (("b",), "red"),
        (("b@2",), "red"),
        (("b", "b@2"), "red"),
        (("b", "b@2", "b@3", "b@4"), "tall"),
        (("b", "b@4"), "tall"),
    ],
)
def test_a_revision_is_not_bought_again_after_an_earlier_one_has_left(
    engine: Engine, client: Client, add: Callable[..., int], tmp_path: Path, left: tuple[str, ...], again: str
) -> None:
    add(FILE)
    files = {word: EDITED.replace("blue", word) for word in ("blue", "red", "green", "tall")}
    assert [add(content, changed=True) for content in files.values()] == [1] * 4
    leave(engine, client, *left)
    before = ids(client)
    planned = client.plan(tmp_path / "rows.csv", batch="b", provider="bloom", changed=True)
    assert (sum(one.share.rows for one in planned.accounts), add(files[again], changed=True)) == (0, 0)
    assert ids(client) == before


def test_a_new_revision_takes_the_name_that_has_become_free_and_is_known_from_then_on(
    engine: Engine, client: Client, add: Callable[..., int]
) -> None:
    add(FILE)
    red = EDITED.replace("blue", "red")
    assert add(EDITED, changed=True) == 1
    leave(engine, client, "b")
    assert [add(red, changed=True), add(red, changed=True), add(EDITED, changed=True)] == [1, 0, 0]
    assert ids(client) == ["a", "c", "b@2", "b"]


@pytest.mark.parametrize("name", ["b@0", "b@1", "b@02", "b@x", "b@9999999999", "@2", "b@2@2"])
def test_a_custom_id_that_looks_like_a_revision_is_a_name_like_any_other(
    client: Client, add: Callable[..., int], name: str
) -> None:
    content = f"custom_id,prompt\n{name},a mug\n"
    assert [add(content, changed=True), add(content, changed=True)] == [1, 0]
    assert add(content.replace("mug", "bowl"), changed=True) == 1
    assert ids(client) == [name, f"{name}@2"]


def test_edited_metadata_replaces_that_of_the_job_and_buys_nothing(
    run: Run, client: Client, add: Callable[..., int], tmp_path: Path
) -> None:
    priced = FILE.replace("prompt\n", "prompt,meta.price\n").replace("mug", "mug,5").replace("bowl", "bowl,6")
    assert add(priced.replace("vase", "vase,")) == 3
    (tmp_path / "rows.csv").write_text(priced.replace("mug,5", "mug,7").replace("vase", "vase,9"))
    given = ("--batch", "b", "--provider", "bloom", "--changed")
    assert "0 jobs enqueued, 3 already there, metadata of 2 renewed" in run("enqueue", "rows.csv", *given).err
    assert "renewed" not in run("enqueue", "rows.csv", *given).err
    prices = [client.story(row["id"])["job"]["metadata"] for row in client.jobs("b")]
    assert prices == [{"price": "7"}, {"price": "6"}, {"price": "9"}]


def test_a_plan_with_changed_counts_edited_rows_as_new_and_without_it_as_conflicts(
    run: Run, add: Callable[..., int], tmp_path: Path
) -> None:
    add(FILE)
    (tmp_path / "rows.csv").write_text(EDITED)
    given = ("rows.csv", "--batch", "b", "--provider", "bloom", "--json")
    assert json.loads(run("plan", *given).out)["conflicts"] == 1
    planned = json.loads(run("plan", *given, "--changed").out)
    assert (planned["new"], planned["known"], planned["conflicts"]) == (1, 2, 0)


def test_a_sample_is_the_first_rows_and_the_whole_file_adds_the_rest(client: Client, add: Callable[..., int]) -> None:
    assert add(FILE, rules=RowRules(sample=2)) == 2
    assert ids(client) == ["a", "b"]
    assert add(FILE) == 1


def test_a_fault_behind_the_sample_is_still_a_fault(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(FILE + "d,\n")
    ran = run("enqueue", "bad.csv", "--provider", "bloom", "--sample", "1")
    assert ran.code == 2
    assert "line 5 (d), prompt" in ran.err


def test_a_model_for_rows_that_name_none_suits_a_text_file(run: Run, client: Client, tmp_path: Path) -> None:
    (tmp_path / "mugs.txt").write_text("a red mug\na blue mug\n")
    assert run("enqueue", "mugs.txt", "--provider", "getimg", "--model", "seedream-5-lite").code == 0
    story = client.story(client.find_job("mugs/row-000001"))
    assert story["job"]["request"]["model"] == "seedream-5-lite"


def test_a_plan_says_that_another_batch_holds_the_same_rows(run: Run, add: Callable[..., int]) -> None:
    add(FILE)
    ran = run("plan", "rows.csv", "--provider", "bloom", "--batch", "again")
    assert "3 of these rows are in batch b already" in ran.out
    assert "--batch b adds only what is new" in ran.out
    assert "already" not in run("plan", "rows.csv", "--provider", "bloom", "--batch", "b").out


def test_a_retry_says_what_it_costs_at_most_and_what_was_refused(engine: Engine, client: Client, run: Run) -> None:
    client.enqueue([{"provider": "bloom", "prompt": "x", "custom_id": "a", "n": 3}], batch="b")
    (claim,) = rows.claim(engine)
    with transaction(engine) as connection:
        step = Move(claim, JobState.QUEUED, JobState.FAILED, code="content_refused", note="no")
        assert move(connection, [step], actor="a")
    shown = run("retry", "--batch", "b", "--dry-run").out
    assert "at most 3 credit of bloom to pay" in shown
    assert "1 of these were refused for what they ask" in shown
    ran = run("retry", "b/a")
    assert "at most 3 credit of bloom to pay" in ran.err
    assert client.totals("b") == {"queued": 1}
