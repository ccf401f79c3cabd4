"""Accounts: registration, pauses whose first reason stays, and waits that only grow."""

from concurrent.futures import ThreadPoolExecutor

from shared.db import accounts, pauses
from shared.db.engine import Engine, transaction
from tests.support import rows


def listed(engine: Engine) -> dict[str, object]:
    with transaction(engine) as connection:
        return accounts.listing(connection)[0]


def pause(engine: Engine, code: str) -> bool:
    with transaction(engine) as connection:
        return pauses.pause(connection, "bloom", code=code, reason="because", action_url="https://pay.example")


def test_a_producer_does_not_overwrite_what_a_worker_registered(engine: Engine) -> None:
    rows.register(engine, rows.account_row(concurrency=3))
    rows.add(engine, [rows.new_job("a")])
    assert listed(engine)["concurrency"] == 3
    assert listed(engine)["seen_at"] is not None


def test_a_worker_settings_replace_what_a_producer_assumed(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    assert listed(engine)["seen_at"] is None
    rows.register(engine, rows.account_row(concurrency=5))
    assert listed(engine)["concurrency"] == 5


def test_a_pause_keeps_its_first_reason_until_a_resume(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    assert pause(engine, "account_out_of_credit")
    assert not pause(engine, "account_unauthorized")
    assert listed(engine)["paused_code"] == "account_out_of_credit"
    with transaction(engine) as connection:
        assert pauses.resume(connection, "bloom")
        assert not pauses.resume(connection, "nobody")
    assert listed(engine)["paused_at"] is None
    assert listed(engine)["action_url"] is None


def test_a_shorter_wait_does_not_cut_a_longer_one(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    with transaction(engine) as connection:
        accounts.slow_down(connection, "bloom", 100)
        accounts.slow_down(connection, "bloom", 1)
        locked = accounts.lock(connection, "bloom", wait=True)
    assert locked is not None
    assert 95 < locked.wait_seconds <= 100
    assert not locked.may_pay


def test_a_locked_account_is_skipped_and_not_waited_for(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    with transaction(engine) as holder, ThreadPoolExecutor(1) as pool:
        assert accounts.lock(holder, "bloom", wait=True) is not None

        def ask() -> object:
            with transaction(engine) as connection:
                return accounts.lock(connection, "bloom", wait=False)

        assert pool.submit(ask).result(5) is None
