"""Tokens: made once, found by what is presented, ended, rotated, and bounded in what they order within a day."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest

from producer import Actor, Client
from shared.db import tokens
from shared.db.engine import Engine, transaction
from shared.db.tokens import NoSuchTokenError, Token, TokenCapError, TokenTerms
from shared.settings import load
from shared.tokens import BACKEND, Scope
from tests.support import rows
from tests.support.command import genqueue

CAPS = {"bloom": Decimal(10)}


@pytest.fixture
def alice(database_url: str) -> Iterator[Client]:
    with Client(settings=load(database_url=database_url), actor=Actor("alice", "test")) as opened:
        yield opened


def terms(caps: dict[str, Decimal] | None = None, *, name: str = "shop", **more: object) -> TokenTerms:
    return TokenTerms(name, frozenset(BACKEND), caps, **more)  # type: ignore[arg-type]


def find(engine: Engine, secret: str) -> Token | None:
    with transaction(engine) as connection:
        return tokens.find(connection, secret)


def made(alice: Client, engine: Engine, given: TokenTerms) -> Token:
    found = find(engine, alice.create_token(given)[1].get_secret_value())
    assert found is not None
    return found


def order(engine: Engine, token: Token, **amounts: Decimal | None) -> None:
    with transaction(engine) as connection:
        tokens.spend(connection, token, amounts)


def spent(alice: Client) -> dict[str, Decimal]:
    return alice.tokens()[0][1]


def test_a_token_is_found_by_its_secret_alone(alice: Client, engine: Engine) -> None:
    named, secret = alice.create_token(terms(CAPS, batch_prefix="shop-"))
    found = find(engine, secret.get_secret_value())
    assert found is not None
    assert (found.id, found.name, found.caps, found.alive) == (named, "shop", CAPS, True)
    assert found.covers("shop-1")
    assert not found.covers("other")
    assert found.allows(Scope.JOBS_READ)
    assert not found.allows(Scope.OPS)
    other = alice.create_token(terms())[1].get_secret_value()
    swapped = other[:3] + named + other[11:]
    assert find(engine, swapped) is None
    assert find(engine, "gq_nonsense") is None


def test_the_database_does_not_hold_the_secret(alice: Client, engine: Engine) -> None:
    secret = alice.create_token(terms())[1].get_secret_value()
    stored = rows.rows(engine, "SELECT row_to_json(token)::text AS all FROM token")[0].all
    assert secret[12:40] not in stored


def test_a_revoked_and_an_expired_token_are_dead(alice: Client, engine: Engine) -> None:
    first = alice.create_token(terms())
    second = alice.create_token(terms(name="late", lifetime=timedelta(seconds=-1)))
    assert alice.revoke_token("shop").id == first[0]
    for _, secret in (first, second):
        found = find(engine, secret.get_secret_value())
        assert found is not None
        assert not found.alive
    with pytest.raises(NoSuchTokenError, match="no live token 'late'"):
        alice.revoke_token("late")


def test_a_rotated_token_has_the_old_terms_and_the_old_one_ends_later(alice: Client, engine: Engine) -> None:
    old = made(alice, engine, terms(CAPS, batch_prefix="shop-", posts_per_second=7))
    named, secret = alice.rotate_token("shop", keep=timedelta(days=7), lifetime=None)
    new = find(engine, secret.get_secret_value())
    assert new is not None
    assert new.id == named
    assert (new.scopes, new.caps, new.batch_prefix, new.posts_per_second) == (old.scopes, CAPS, "shop-", 7)
    kept = {one.id: one for one, _ in alice.tokens()}[old.id]
    assert kept.alive
    assert kept.expires_at is not None
    with pytest.raises(NoSuchTokenError, match="several live tokens are called 'shop'") as several:
        alice.revoke_token("shop")
    assert f"{named} (made {new.created_at:%Y-%m-%d %H:%M}, never ends)" in str(several.value)
    assert f"{old.id} (made {old.created_at:%Y-%m-%d %H:%M}, ends {kept.expires_at:%Y-%m-%d %H:%M})" in str(
        several.value
    )
    assert alice.revoke_token(old.id).id == old.id


def test_rotated_tokens_spend_from_one_cap(alice: Client, engine: Engine) -> None:
    old = made(alice, engine, terms(CAPS))
    new = find(engine, alice.rotate_token("shop", keep=timedelta(1), lifetime=None)[1].get_secret_value())
    assert new is not None
    order(engine, old, bloom=Decimal(6))
    with pytest.raises(TokenCapError, match=r"6 of 10 are ordered within 24 hours, and this needs up to 5"):
        order(engine, new, bloom=Decimal(5))
    order(engine, new, bloom=Decimal(4))
    assert spent(alice) == {"bloom": 10}


def test_a_refused_order_counts_nothing(alice: Client, engine: Engine) -> None:
    token = made(alice, engine, terms({"bloom": Decimal(10), "getimg": Decimal(1)}))
    with pytest.raises(TokenCapError) as refused:
        order(engine, token, bloom=Decimal(1), getimg=Decimal(2))
    assert refused.value.code == "token_cap_reached"
    assert spent(alice) == {}


def test_a_capped_token_orders_nothing_that_no_cap_names_or_that_no_price_bounds(alice: Client, engine: Engine) -> None:
    token = made(alice, engine, terms(CAPS))
    with pytest.raises(TokenCapError):
        order(engine, token, getimg=Decimal("0.01"))
    with pytest.raises(TokenCapError) as refused:
        order(engine, token, bloom=None)
    assert refused.value.code == "price_unknown"
    order(engine, token, banatie=Decimal(0))


def test_a_token_without_a_cap_orders_what_it_likes(alice: Client, engine: Engine) -> None:
    order(engine, made(alice, engine, terms()), bloom=Decimal(10**6), openrouter=None)


def test_what_was_ordered_counts_for_a_day(alice: Client, engine: Engine) -> None:
    token = made(alice, engine, terms(CAPS))
    order(engine, token, bloom=Decimal(10))
    rows.rows(engine, "UPDATE token_spending SET began_at = began_at - interval '24 hours'")
    with pytest.raises(TokenCapError):
        order(engine, token, bloom=Decimal(1))
    rows.rows(engine, "UPDATE token_spending SET began_at = began_at - interval '11 minutes'")
    order(engine, token, bloom=Decimal(10))
    assert spent(alice) == {"bloom": 10}


def test_a_cap_holds_under_ten_connections(alice: Client, engine: Engine) -> None:
    token = made(alice, engine, terms(CAPS))

    def once(_: int) -> bool:
        try:
            order(engine, token, bloom=Decimal(1))
        except TokenCapError:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(once, range(30))) == 10
    assert spent(alice) == {"bloom": 10}


def test_a_use_is_recorded_once_a_minute_and_waits_for_nobody(alice: Client, engine: Engine) -> None:
    token = made(alice, engine, terms(CAPS))
    with transaction(engine) as spending, transaction(engine) as connection:
        tokens.spend(spending, token, {"bloom": Decimal(1)})
        tokens.used(connection, token)
    assert alice.tokens()[0][0].last_used_at is None
    with transaction(engine) as connection:
        tokens.used(connection, token)
    first = alice.tokens()[0][0].last_used_at
    with transaction(engine) as connection:
        tokens.used(connection, token)
    assert first is not None
    assert alice.tokens()[0][0].last_used_at == first


def test_each_change_of_a_token_is_in_the_audit(alice: Client) -> None:
    first = alice.create_token(terms(CAPS))[0]
    second, secret = alice.rotate_token("shop", keep=timedelta(0), lifetime=None)
    alice.revoke_token(second)
    lines = [(row["actor"], row["act"], row["terms"]) for row in alice.audited()]
    assert lines == [
        ("alice", "token", f"revoke {second} shop"),
        ("alice", "token", f"rotate {first} shop: {second}"),
        ("alice", "token", f"create {first} shop: jobs:write jobs:read results:read; bloom=10"),
    ]
    assert secret.get_secret_value()[12:] not in str(alice.audited())


def test_the_commands_make_list_rotate_and_revoke(database_url: str, engine: Engine) -> None:
    env = {"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "80"}
    ran = genqueue("token", "create", "shop", "--max-cost", "bloom=20", "--batches", "shop-", env=env)
    assert ran.code == 0
    found = find(engine, ran.out.strip())
    assert found is not None
    assert (found.caps, found.batch_prefix, found.scopes) == ({"bloom": 20}, "shop-", frozenset(BACKEND))
    assert ran.out.strip() not in ran.err
    rotated = genqueue("token", "rotate", "shop", "--keep-days", "0", env=env)
    assert find(engine, rotated.out.strip()) is not None
    assert genqueue("token", "revoke", "shop", env=env).code == 0
    listed = [json.loads(line) for line in genqueue("token", "list", "--json", env=env).out.splitlines()]
    assert [(one["name"], one["state"], one["cap"]) for one in listed] == [
        ("shop", "revoked", "bloom=20"),
        ("shop", "expired", "bloom=20"),
    ]
    assert max(map(len, genqueue("token", "list", env=env).out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("shop",), "--max-cost bloom=20, or --no-cap"),
        (("shop", "--no-cap", "--max-cost", "bloom=1"), "contradict"),
        (("shop", "--max-cost", "blom=1"), "not a provider"),
        (("a shop", "--no-cap"), "name has up to 60"),
        (("shop", "--no-cap", "--batches", "a b"), "no spaces"),
    ],
)
def test_a_token_that_is_not_clear_is_not_made(given: tuple[str, ...], said: str, database_url: str) -> None:
    ran = genqueue("token", "create", *given, env={"GENQUEUE_DATABASE_URL": database_url})
    assert ran.code == 2
    assert said in ran.err
    assert not ran.out


def test_a_token_that_only_reads_needs_no_cap(database_url: str) -> None:
    env = {"GENQUEUE_DATABASE_URL": database_url}
    wrong = genqueue("token", "create", "board", "--scope", "foo", env=env)
    assert (wrong.code, "'--scope': 'foo' is no scope; they are jobs:write, " in wrong.err) == (2, True)
    assert genqueue("token", "create", "board", "--scope", "jobs:read", env=env).code == 0
