"""Amounts on the pages: whoever may not see money sees none, in no column and in no sentence."""

import html
import re
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from ops.dashboard.sessions import EVERYTHING, Person, Right
from ops.dashboard.words import told
from producer import Client
from shared.db import workers
from shared.db.engine import Engine, transaction
from shared.settings import load
from tests.support import held, rows
from tests.support.browsing import Browser, signed_in

VIEWER = Person("viewer", frozenset({Right.SEE}))
AMOUNT = re.compile(r"(?<![\w.])[0-9]+(?:\.[0-9]+)? (?:<span class=\"dim\">)?(?:USD|credits?)\b|by hand: [0-9]")


def seen(browser: Browser, path: str) -> list[str]:
    page = browser.get(path)
    assert page.status_code == 200
    return AMOUNT.findall(html.unescape(page.text))


def a_queue_with_money(engine: Engine, client: Client) -> dict[str, UUID]:
    """Jobs of every kind that has an amount: held, bought, decided by hand, capped, and an account that is capped."""
    with transaction(engine) as connection:
        workers.heartbeat(connection, name="w1", lock_key=1, slots=4)
    jobs = {"held": held.held(engine, account="getimg")[0], "failed": held.failed(engine)[0]}
    jobs["decided"] = held.held(engine)[0]
    client.resolve(jobs["decided"], resend=False, charged=Decimal("0.5"))
    rows.add(engine, [rows.new_job("capped")], batch="capped", caps={"bloom": Decimal(3)}, accounts=())
    why = "the batch has a cap: 2.5 of 3 credit are spent or set aside, this needs 1"
    rows.rows(
        engine,
        "UPDATE job SET on_hold = true, error_code = 'batch_cap_reached', error = :why WHERE custom_id = 'capped'",
        why=why,
    )
    jobs["capped"] = client.find_job("capped")
    rows.add(engine, [rows.new_job("waits")], batch="waits", accounts=())
    rows.rows(engine, "UPDATE account SET daily_cap = 2, balance = 1, seen_at = now() RETURNING name")
    rows.rows(engine, "UPDATE account SET not_before = now() + interval '20 s' RETURNING name")
    return jobs


@pytest.mark.parametrize("rights", [{Right.SEE}, {Right.SEE, Right.OPERATE, Right.PICTURES, Right.ENQUEUE}])
def test_whoever_may_not_see_money_sees_no_amount_on_any_page(
    engine: Engine, client: Client, database_url: str, tmp_path: Path, rights: set[Right]
) -> None:
    jobs = a_queue_with_money(engine, client)
    pages = ["/", "/held", "/failures", "/accounts", "/batch?name=b", "/batch?name=capped"]
    pages += [f"/job/{job}" for job in jobs.values()]
    settings = load(database_url=database_url)
    with signed_in(engine, tmp_path / "all", settings=settings, rights=EVERYTHING) as browser:
        shown = {path: seen(browser, path) for path in pages}
    assert [path for path, amounts in shown.items() if not amounts] == ["/failures", "/batch?name=capped"]
    with signed_in(engine, tmp_path / "few", settings=settings, rights=rights) as browser:
        assert {path: seen(browser, path) for path in pages} == {path: [] for path in pages}


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("its daily cap is reached (20 of 20 credit are spent)", "its daily cap is reached (… credit are spent)"),
        ("1.50 of 2 USD are spent, this needs 0.75", "… USD are spent, this needs …"),
        ("it has 1,234.5 USD left, which lasts for 3.1 h", "it has … USD left, which lasts for 3.1 h"),
        ("settled by hand: 0.035", "settled by hand: …"),
        ("HTTP 402 from 10.0.0.1 after 3 s", "HTTP 402 from 10.0.0.1 after 3 s"),
        (None, ""),
    ],
)  # fmt: skip
def test_a_sentence_keeps_all_but_its_amounts(said: str | None, left: str) -> None:
    assert told(said, VIEWER) == left
    assert told(said, Person("payer", frozenset({Right.SEE, Right.MONEY}))) == (said or "")
