"""`genqueue plan`: it says what enqueue would do and what workers would meet, and it changes nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.stack import Endpoints
from producer import Client
from producer.plan import plan as made_plan
from producer.prompts import PreparedFile, read_rows
from shared import catalog
from shared.account_settings import RateWindow
from shared.db import accounts, pauses, workers
from shared.db.accounts import AccountRow, AccountTerms
from shared.db.engine import Engine, transaction
from shared.db.jobs import model_times
from shared.db.jobs.transitions import Move
from shared.db.payments import submissions
from shared.db.read import planning as db
from shared.lifecycle import JobState
from tests.support import rows
from tests.support.command import Ran, genqueue
from tests.support.drain import BRAND

BLOOM = "custom_id,provider,prompt,n\na,bloom,a harbour,2\nb,bloom,a tram,1\n"
Run = Callable[..., Ran]


@pytest.fixture
def run(database_url: str, endpoints: Endpoints, tmp_path: Path) -> Run:
    env = {**endpoints.environment(), "GENQUEUE_DATABASE_URL": database_url}

    def command(*arguments: str, stdin: bytes = b"", **changes: str) -> Ran:
        return genqueue(*arguments, env={**env, **changes}, cwd=tmp_path, stdin=stdin)

    return command


@pytest.fixture
def ready(engine: Engine) -> Engine:
    """A database that a worker with two accounts ticks at."""
    rows.register(engine, rows.account_row("bloom"), rows.account_row("getimg"))
    with transaction(engine) as connection:
        workers.heartbeat(connection, name="a-worker", lock_key=1, slots=4)
    return engine


def plan(run: Run, tmp_path: Path, content: str, *arguments: str, **changes: str) -> tuple[int, Any]:
    (tmp_path / "spring.csv").write_text(content)
    ran = run("plan", "spring.csv", "--json", *arguments, **changes)
    return ran.code, json.loads(ran.out)


def contents(engine: Engine) -> Any:
    tables = "(SELECT array_agg(account) FROM account), (SELECT count(*) FROM batch), (SELECT count(*) FROM job)"
    return rows.rows(engine, f"SELECT {tables}")


def test_a_file_that_nothing_is_missing_for_is_code_0_and_changes_nothing(
    run: Run, tmp_path: Path, ready: Engine
) -> None:
    before = contents(ready)
    code, told = plan(run, tmp_path, BLOOM, GENQUEUE_BLOOM_BRAND_SESSION_ID=BRAND)
    assert (code, told["remarks"]) == (0, [])
    assert (told["batch"], told["batch_exists"], told["rows"], told["new"]) == ("spring", False, 2, 2)
    (bloom,) = told["accounts"]
    assert (bloom["new"], bloom["images"], bloom["requests"]["submits"]) == (2, 3, 2)
    assert bloom["cost"] == {"unit": "credit", "low": "3", "high": "3"}
    assert contents(ready) == before


def test_rows_of_the_batch_count_as_there_already_and_cost_nothing(run: Run, tmp_path: Path, ready: Engine) -> None:
    (tmp_path / "spring.csv").write_text(BLOOM)
    assert run("enqueue", "spring.csv").code == 0
    code, told = plan(run, tmp_path, BLOOM + "c,bloom,new,5\n")
    assert code == 0
    (bloom,) = told["accounts"]
    assert (told["known"], told["new"], bloom["known"], bloom["images"], bloom["cost"]["high"]) == (2, 1, 2, 5, "5")
    assert (bloom["waiting"], bloom["ahead"]) == (2, 1)
    assert json.loads(run("enqueue", "spring.csv", "--json").out)["added"] == told["new"]


def test_a_conflict_is_counted_and_refused_with_the_words_of_enqueue(run: Run, tmp_path: Path, ready: Engine) -> None:
    (tmp_path / "spring.csv").write_text(BLOOM)
    run("enqueue", "spring.csv")
    changed = BLOOM.replace("a tram", "a bus") + "c,bloom,new,1\n"
    code, told = plan(run, tmp_path, changed)
    assert (code, told["conflicts"], told["known"], told["new"]) == (2, 1, 1, 1)
    refused = run("enqueue", "spring.csv")
    assert run("plan", "spring.csv").error_lines == refused.error_lines
    assert refused.code == 2


def test_a_bad_file_is_refused_by_line_and_field_as_enqueue_does(run: Run, tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "bad.csv").write_text(BLOOM + "c,bloom,,6\n")
    planned, enqueued = run("plan", "bad.csv"), run("enqueue", "bad.csv")
    assert (planned.code, planned.err) == (2, enqueued.err)
    assert "line 4 (c), prompt" in planned.err
    assert run("plan", "absent.csv").code == 2


def test_standard_input_needs_a_batch_name(run: Run, ready: Engine) -> None:
    assert "--batch" in run("plan", "-", stdin=BLOOM.encode()).err
    assert run("plan", "-", "--batch", "piped", stdin=BLOOM.encode()).code == 0


def test_with_only_the_database_it_says_who_is_missing(run: Run, tmp_path: Path, engine: Engine) -> None:
    code, told = plan(run, tmp_path, BLOOM)
    codes = [(remark["code"], remark["account"]) for remark in told["remarks"]]
    assert (code, codes) == (3, [("no_worker", None), ("account_unseen", "bloom"), ("brand_missing", "bloom")])
    assert told["accounts"][0]["because"] == ""


def test_a_paused_account_and_a_small_balance_are_said_before_anything_is_spent(
    run: Run, tmp_path: Path, ready: Engine
) -> None:
    with transaction(ready) as connection:
        accounts.record_survey(connection, "bloom", balance=Decimal("2.5"), notes=None)
    code, told = plan(run, tmp_path, BLOOM)
    assert (code, told["remarks"][0]["code"]) == (3, "balance_short")
    assert "0.5 less than the 3" in told["remarks"][0]["seen"]
    with transaction(ready) as connection:
        pauses.pause(connection, "bloom", code="no_credit", reason="no credit", action_url="https://b.example/top-up")
    ran = run("plan", "spring.csv")
    assert ran.code == 3
    assert "https://b.example/top-up" in ran.out
    assert "genqueue resume bloom" in ran.out


def test_prices_of_the_account_make_an_unknown_cost_known(run: Run, tmp_path: Path, ready: Engine) -> None:
    content = "provider,prompt,model\ngetimg,a harbour,dear\ngetimg,a tram,cheap\n"
    code, told = plan(run, tmp_path, content)
    assert (code, told["accounts"][0]["cost"]["high"]) == (0, None)
    assert told["accounts"][0]["price_unknown"] == {"dear": 1, "cheap": 1}
    assert "GENQUEUE_GETIMG_PRICES=cheap=...,dear=..." in told["remarks"][0]["do"]
    _, told = plan(run, tmp_path, content, GENQUEUE_GETIMG_PRICES="dear=0.1,cheap=0.2")
    assert told["totals"] == [{"unit": "USD", "low": "0.3", "high": "0.3", "provider": None}]


def test_a_cap_of_the_batch_counts_what_is_spent_and_what_waits(run: Run, tmp_path: Path, ready: Engine) -> None:
    (tmp_path / "spring.csv").write_text(BLOOM)  # 3 credits
    first = plan(run, tmp_path, BLOOM, "--max-cost", "bloom=2")[1]["remarks"][0]
    assert first["do"] == "--max-cost bloom=3 of enqueue"  # the batch has no cap to change yet
    assert run("enqueue", "spring.csv", "--max-cost", "bloom=6").code == 0
    (intent,) = rows.open_intents(ready, rows.claim(ready))  # 2 of them
    with transaction(ready) as connection:
        submissions.record(connection, intent.submission_id, rows.accepted())
    rows.rows(ready, "UPDATE job SET state = 'pending', claimed_by = NULL WHERE epoch > 0")
    assert plan(run, tmp_path, BLOOM + "c,bloom,new,3\n")[0] == 0
    code, told = plan(run, tmp_path, BLOOM + "c,bloom,new,4\n")
    assert (code, told["remarks"][0]["code"]) == (3, "batch_cap_short")
    assert "4 credit left of the batch's 6 for bloom, 1 less than the 5" in told["remarks"][0]["seen"]
    assert "genqueue cap spring bloom=7" in told["remarks"][0]["do"]
    assert plan(run, tmp_path, BLOOM + "c,bloom,new,4\n", "--max-cost", "7")[0] == 0


def test_a_cap_that_cannot_be_read_is_wrong_input(run: Run, ready: Engine, tmp_path: Path) -> None:
    (tmp_path / "spring.csv").write_text(BLOOM)
    assert run("plan", "spring.csv", "--max-cost", "much").code == 2


def test_the_usual_time_comes_from_the_last_calls_and_what_models_learned(
    run: Run, tmp_path: Path, ready: Engine
) -> None:
    _, told = plan(run, tmp_path, BLOOM)
    assert told["accounts"][0]["seconds_usually"] is None
    rows.add(ready, [rows.new_job("old")])
    (intent,) = rows.open_intents(ready, rows.claim(ready))
    rows.settle(ready, intent, rows.accepted(), Move(intent.claim, JobState.SUBMITTING, JobState.PENDING, 0))
    rows.rows(ready, "UPDATE submission SET answered_at = opened_at + interval '3 seconds'")
    with transaction(ready) as connection:
        model_times.learn(connection, "bloom", {"": [(10.0, 12.0), (20.0, 40.0), (18.0, 20.0)]})
    _, told = plan(run, tmp_path, BLOOM)
    assert told["accounts"][0]["seconds_usually"] == 3.0 * 2 / 2 + 20.0


def test_the_time_is_that_of_the_limits_that_workers_registered(run: Run, tmp_path: Path, ready: Engine) -> None:
    rows.register(ready, rows.account_row("bloom", windows=(RateWindow(requests=1, seconds=86_400),)))
    code, told = plan(run, tmp_path, BLOOM)
    (bloom,) = told["accounts"]
    assert (bloom["seconds_at_least"], bloom["because"]) == (2 * 86_400.0, "1/day")  # two paid calls and a poll
    assert (code, told["remarks"][0]["code"]) == (3, "deadline_short")


DAY_OLD = "UPDATE account SET seen_at = now() - interval '2 days'"
PAUSED = "UPDATE account SET paused_at = now(), paused_code = 'x', paused_reason = 'by hand'"


# The start of the rotation is drawn; twelve rows go round evenly wherever it falls.
EVENLY = {"bloom": 4, "bloom_eu": 4, "bloom_us": 4}
DEALT = {
    "three accounts take turns": ("SELECT 1", EVENLY),
    "a paused account is left out": (f"{PAUSED} WHERE name = 'bloom_eu'", {"bloom": 6, "bloom_us": 6}),
    "one that is left takes all": (f"{PAUSED} WHERE name <> 'bloom_us'", {"bloom_us": 12}),
    "all are paused and take turns": (PAUSED, EVENLY),
    "a capped account takes its turn": ("UPDATE account SET daily_cap = 0 WHERE name = 'bloom_eu'", EVENLY),
    "a key that no worker has is left out": (f"{DAY_OLD} WHERE name = 'bloom'", {"bloom_eu": 6, "bloom_us": 6}),
    "a paused one with a key goes before one without": (
        f"{PAUSED}, seen_at = CASE WHEN name = 'bloom' THEN seen_at END WHERE provider = 'bloom'",
        {"bloom": 12},
    ),
    "without any key jobs wait for the provider's name": (DAY_OLD, {"bloom": 12}),
}


@pytest.mark.parametrize(("stand", "dealt"), DEALT.values(), ids=DEALT)
def test_a_plan_deals_jobs_to_the_accounts_that_enqueue_deals_them_to(
    client: Client, ready: Engine, stand: str, dealt: dict[str, int]
) -> None:
    others = [accounts.AccountRow(name, "bloom", "credit", 4, ()) for name in ("bloom_eu", "bloom_us")]
    rows.register(ready, *others)
    rows.rows(ready, stand)
    given = [{"provider": "bloom", "prompt": f"harbour {number}"} for number in range(12)]
    given += [{"provider": "posteverywhere", "prompt": "a tram"}]
    with read_rows(given, default_provider=None, providers=catalog.names()) as prepared:
        told = planned(client, prepared)
    client.enqueue(given, batch="b")
    there = rows.rows(ready, "SELECT account, count(*) FROM job GROUP BY account")
    assert dict(told) == dict(there) == {**dealt, "posteverywhere": 1}


def planned(client: Client, prepared: PreparedFile) -> list[tuple[str, int]]:
    with transaction(client._engine) as connection:
        made = made_plan(connection, prepared, batch="b", settings=client.settings)
    return [(one.share.account, one.share.rows) for one in made.accounts]


def test_the_table_fits_80_columns_and_names_every_account(run: Run, tmp_path: Path, ready: Engine) -> None:
    (tmp_path / "all.jsonl").write_text(
        "\n".join(
            json.dumps(
                {"provider": name, "prompt": "x", **({"model": "a/b"} if name in {"getimg", "openrouter"} else {})}
            )
            for name in catalog.names()
            for _ in range(2000)
        )
    )
    ran = run("plan", "all.jsonl")
    assert ran.code == 3
    assert max(map(len, ran.out.splitlines())) <= 80
    assert all(f"\n{name} " in ran.out for name in catalog.names())
    assert "2,000 credit" in ran.out


def test_a_hundred_thousand_rows_are_planned_in_the_memory_of_a_few(
    client: Client, ready: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.enqueue([{"custom_id": "first", "provider": "bloom", "prompt": "x"}], batch="b")
    process, most, look = psutil.Process(), [0], db.found

    def looked(*arguments: Any) -> Any:
        most[0] = max(most[0], process.memory_info().rss)
        return look(*arguments)

    monkeypatch.setattr(db, "found", looked)
    given = ({"provider": "bloom", "prompt": f"{number} " + "x" * 300} for number in range(100_000))
    with read_rows(given, default_provider=None, providers=catalog.names()) as prepared:
        before = process.memory_info().rss
        assert planned(client, prepared) == [("bloom", 100_000)]
    assert most[0] - before < 12 * 2**20


def test_a_plan_knows_what_a_worker_knows_of_an_account(run: Run, tmp_path: Path, engine: Engine) -> None:
    prices = {"seedream-5-lite": Decimal("0.04")}
    known = AccountRow("getimg", "getimg", "USD", 4, (), terms=AccountTerms(prices, False, False))  # noqa: FBT003
    bloom = replace(rows.account_row("bloom"), terms=AccountTerms({}, True, False))  # noqa: FBT003
    with transaction(engine) as connection:
        accounts.register(connection, [known, bloom])
    _, told = plan(run, tmp_path, BLOOM)
    assert [remark["code"] for remark in told["remarks"]] == ["no_worker"]
    content = "custom_id,provider,prompt,model\na,getimg,a tram,seedream-5-lite\n"
    _, told = plan(run, tmp_path, content)
    assert told["totals"][0]["high"] == "0.04"
