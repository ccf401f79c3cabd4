"""One line for each command of a person: who, what, on which jobs, how many, and what it could pay a second time."""

import json
import os
import pwd
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from producer import Actor, Client
from shared.db import accounts
from shared.db.accounts import AccountRow
from shared.db.engine import Engine, transaction
from shared.db.jobs.resolve import NotHeldError
from shared.settings import load
from tests.support import held, rows
from tests.support.command import genqueue

ALICE = Actor("alice", "test")


@pytest.fixture
def alice(database_url: str) -> Iterator[Client]:
    with Client(settings=load(database_url=database_url), actor=ALICE) as opened:
        yield opened


def lines(client: Client) -> list[tuple[Any, ...]]:
    names = ("act", "terms", "batch", "account", "error_code", "changed", "worst_cost", "unpriced")
    return [tuple(row[name] for name in names) for row in client.audited()]


def test_a_command_on_many_jobs_is_one_line_however_many_transactions_it_took(alice: Client, engine: Engine) -> None:
    held.held(engine, 110, price=Decimal("0.50"))
    plan = alice.plan_resolve(resend=True, charged=Decimal(0), batch="b", code="answer_lost")
    alice.carry_out_resolve(plan)
    worst = {"credit of bloom": Decimal(55)}
    assert lines(alice) == [("resolve", "--resend --charged 0", "b", None, "answer_lost", 110, worst, 0)]


def test_the_worst_cost_is_told_by_unit_beside_calls_of_unknown_price(alice: Client, engine: Engine) -> None:
    held.held(engine, 3, price=Decimal("1.50"))
    held.held(engine, 2, account="getimg", price=Decimal("0.04"))
    held.held(engine, 1, account="openrouter", price=None)
    alice.carry_out_resolve(alice.plan_resolve(resend=True, batch="b"))
    worst = {"USD": Decimal("0.08"), "credit of bloom": Decimal("4.50")}
    assert lines(alice) == [("resolve", "--resend", "b", None, None, 6, worst, 1)]


def test_what_was_left_alone_is_not_counted(alice: Client, engine: Engine) -> None:
    first, _ = held.held(engine, 2)
    plan = alice.plan_resolve(resend=False, batch="b")
    alice.resolve(first, resend=True)
    alice.carry_out_resolve(plan)
    assert [(line[0], line[1], line[5]) for line in lines(alice)] == [
        ("resolve", "--fail", 1),
        ("resolve", "--resend", 1),
    ]


def test_only_what_a_retry_buys_again_can_cost_a_second_time(alice: Client, engine: Engine) -> None:
    held.failed(engine, 2)
    alice.retry(alice.plan_retry(batch="b"))
    assert lines(alice) == []
    alice.retry(alice.plan_retry(batch="b"), buy_again=True)
    ((act, terms, batch, _, _, changed, worst, _),) = lines(alice)
    assert (act, terms, batch, changed) == ("retry", "--buy-again", "b", 2)
    assert worst == {"credit of bloom": Decimal(4)}


def test_an_act_that_fails_leaves_no_line(alice: Client, engine: Engine) -> None:
    (job,) = held.failed(engine)
    with pytest.raises(NotHeldError):
        alice.resolve(job, resend=False)
    assert lines(alice) == []


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (lambda client: client.cap("b", ["bloom=5"]), ("cap", "bloom=5", "b", None, None, 1, {}, 0)),
        (lambda client: client.uncap("b"), ("cap", "none", "b", None, None, 1, {}, 0)),
        (lambda client: client.pause("bloom", "sk-secret"), ("pause", "", None, "bloom", None, 1, {}, 0)),
        (lambda client: client.cancel(batch="b"), ("cancel", "", "b", None, None, 3, {}, 0)),
        (
            lambda client: client.carry_out_cancel(client.plan_cancel(account="bloom")),
            ("cancel", "", None, "bloom", None, 3, {}, 0),
        ),
        (lambda client: client.set_policy("b", "hold"), ("policy", "hold", "b", None, None, 1, {}, 0)),
        (
            lambda client: client.set_policy("b", "resend"),
            ("policy", "resend", "b", None, None, 1, {"credit of bloom": Decimal(4)}, 0),
        ),
    ],
)
def test_each_act_says_what_it_was_on(
    act: Callable[[Client], Any], line: tuple[Any, ...], alice: Client, engine: Engine
) -> None:
    held.held(engine, 2)
    rows.add(engine, [rows.new_job("waiting", prompt="a secret garden")], batch="b", accounts=())
    act(alice)
    assert lines(alice) == [line]
    assert "secret" not in str(alice.audited())


def test_an_act_that_changes_nothing_leaves_no_line(alice: Client, engine: Engine) -> None:
    with transaction(engine) as connection:
        accounts.ensure(connection, [AccountRow("bloom", "bloom", "credit", 1, ())])
    assert alice.pause("bloom", "once")
    assert not alice.pause("bloom", "twice")
    assert not alice.resume("nobody")
    assert alice.resume("bloom")
    assert [line[0] for line in lines(alice)] == ["resume", "pause"]


def test_the_sdk_is_named_with_this_processs_user_unless_told_otherwise(database_url: str, engine: Engine) -> None:
    held.held(engine)
    user = pwd.getpwuid(os.getuid()).pw_name
    with Client(settings=load(database_url=database_url)) as client:
        client.pause("bloom", "why")
        assert [(row["actor"], row["door"]) for row in client.audited()] == [(user, "sdk")]
    with Client(settings=load(database_url=database_url), actor=Actor("an\x00 api\ntoken", "api")) as client:
        client.resume("bloom")
        assert [(row["actor"], row["door"]) for row in client.audited(1)] == [("an apitoken", "api")]


def test_the_command_lists_the_newest_lines_for_people_and_for_programs(database_url: str, engine: Engine) -> None:
    held.held(engine, 2)
    env = {"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "120"}
    for command in (("pause", "bloom"), ("policy", "b", "resend"), ("cancel", "--batch", "b", "--yes")):
        assert genqueue(*command, env=env).code == 0
    shown = genqueue("audit", env=env)
    assert shown.code == 0
    assert [line.split()[5] for line in shown.out.splitlines()[1:]] == ["cancel", "policy", "pause"]
    assert "4 credit of bloom" in shown.out
    narrow = genqueue("audit", env={**env, "COLUMNS": "80"}).out.splitlines()
    assert len(narrow) == 4, "one line for each row"
    assert max(map(len, narrow)) <= 80
    (newest,) = [json.loads(line) for line in genqueue("audit", "--limit", "1", "--json", env=env).out.splitlines()]
    assert (newest["door"], newest["act"], newest["batch"], newest["changed"]) == ("cli", "cancel", "b", 2)
    assert newest["worst_cost"] == {}
