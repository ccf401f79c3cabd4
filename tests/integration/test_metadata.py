"""Metadata: kept with its job, returned with its results, found by a key, and gone when its job is erased or leaves."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from producer import Client
from producer.prompts import RowRules
from shared.db.engine import Engine
from tests.integration.test_retention import prune_all
from tests.support import aged, rows
from tests.support.command import Ran, genqueue
from tests.support.drain import drain
from tests.support.outcome import ended
from worker.runtime import Runtime

Run = Callable[..., Ran]
PRODUCTS = "sku,prompt,price,colour\n0012,a mug,-1.50,=red\n0013,a bowl,,blue\n"
_KEPT = RowRules(keep_columns=True)


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    return lambda *arguments: genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url}, cwd=tmp_path)


@pytest.fixture
def products(tmp_path: Path) -> Path:
    path = tmp_path / "products.csv"
    path.write_text(PRODUCTS)
    return path


def test_a_column_under_another_name_is_planned_and_enqueued_as_ours(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "german.csv"
    file.write_text("Titel,Bildformat\nein Hafen,16:9\n")
    names = ("--column", "prompt=Titel", "--column", "aspect_ratio=Bildformat")
    assert "bloom" in run("plan", str(file), "--provider", "bloom", *names).out
    assert run("enqueue", str(file), "--provider", "bloom", *names).code == 0
    assert run("enqueue", str(file), "--provider", "bloom", "--column", "ratio=Bildformat").code == 2


def test_columns_of_a_product_list_come_back_with_its_results(run: Run, products: Path) -> None:
    refused = run("enqueue", products.name, "--provider", "bloom")
    assert refused.code == 2
    assert "--keep-columns" in refused.err
    made = ("--keep-columns", "--custom-id", "{sku}", "--prompt", "{prompt} in {colour}")
    assert run("enqueue", products.name, "--provider", "bloom", *made).code == 0
    written = list(csv.DictReader(io.StringIO(run("results", "products", "--format", "csv").out)))
    own = ("custom_id", "meta.sku", "meta.price", "meta.colour")
    assert [tuple(row[name] for name in own) for row in written] == [
        ("0012", "0012", "-1.50", "'=red"),
        ("0013", "0013", "", "blue"),
    ]
    first = json.loads(run("results", "products").out.splitlines()[0])
    assert first["metadata"] == {"sku": "0012", "price": "-1.50", "colour": "=red"}


def test_a_provider_never_sees_metadata(client: Client, runtime: Runtime, engine: Engine) -> None:
    client.enqueue([{"provider": "bloom", "prompt": "a mug", "metadata": {"sku": "secret-0012"}}], batch="b")
    drain(runtime, ended(client))
    assert [row["metadata"] for row in client.results("b")] == [{"sku": "secret-0012"}]
    (job,) = rows.rows(engine, "SELECT request FROM job")
    assert job.request == {"prompt": "a mug"}


def test_the_same_row_with_other_metadata_adds_nothing_and_changes_nothing(client: Client) -> None:
    row = {"provider": "bloom", "prompt": "a mug", "custom_id": "a"}
    assert client.enqueue([{**row, "metadata": {"shelf": 1}}], batch="b").added == 1
    assert client.enqueue([{**row, "metadata": {"shelf": 2}}], batch="b").added == 0
    assert [row["metadata"] for row in client.results("b")] == [{"shelf": 1}]


def test_a_large_batch_of_which_few_rows_carry_metadata_keeps_each_with_its_own_job(client: Client) -> None:
    given = [{"prompt": f"row {i}", "custom_id": f"c{i}", **({"number": i} if i % 7 == 0 else {})} for i in range(1000)]
    client.enqueue(given, batch="b", provider="bloom", rules=_KEPT)
    found = {row["custom_id"]: row["metadata"] for row in client.results("b")}
    assert found == {f"c{i}": {"number": i} if i % 7 == 0 else {} for i in range(1000)}
    assert client.metadata_keys("b") == ["number"]


def test_jobs_are_found_by_a_key_and_its_value_as_text_or_number(client: Client, run: Run) -> None:
    given = [
        {"prompt": f"row {i}", "custom_id": f"c{i}", "metadata": {"shelf": i % 3, "sku": f"A-{i}"}} for i in range(9)
    ]
    client.enqueue(given, batch="b", provider="bloom")
    client.enqueue(given, batch="other", provider="bloom")
    assert [row["custom_id"] for row in client.jobs("b", where={"shelf": "2"})] == ["c2", "c5", "c8"]
    assert [row["custom_id"] for row in client.jobs("b", where={"shelf": "2", "sku": "A-5"})] == ["c5"]
    assert client.jobs("b", where={"shelf": "2"}, state="failed") == []
    found = [json.loads(line) for line in run("jobs", "b", "--where", "sku=A-7", "--json").out.splitlines()]
    assert [(row["custom_id"], row["metadata"]) for row in found] == [("c7", {"sku": "A-7", "shelf": 1})]


def test_metadata_goes_when_its_job_is_erased_or_leaves(client: Client, engine: Engine) -> None:
    ages = (("e", 1), ("s", 1), ("l", 99))
    erased, stays, leaves = (aged.ended(engine, batch=batch, days=days) for batch, days in ages)
    for job in (erased, stays, leaves):
        rows.rows(engine, """INSERT INTO job_metadata VALUES (:id, '{"who": "grandmother"}')""", id=job)
    client.carry_out_erase(client.plan_erase(job=erased))
    assert [row["metadata"] for row in client.results("e")] == [{}]
    assert prune_all(engine) == 1
    assert [row.job_id for row in rows.rows(engine, "SELECT job_id FROM job_metadata")] == [stays]
