"""Rate windows: exact in every sliding window, however many ask at once."""

from concurrent.futures import ThreadPoolExecutor

from shared.account_settings import RateWindow
from shared.db import accounts, rate_windows
from shared.db.engine import Engine, transaction
from tests.support import rows

FIVE_IN_ONE = (RateWindow(requests=5, seconds=1.0),)


def grant(engine: Engine, wanted: int = 1) -> tuple[int, float]:
    with transaction(engine) as connection:
        return rate_windows.grant(connection, "bloom", "poll", wanted)


def test_a_window_grants_what_is_left_and_says_when_the_next_is_free(engine: Engine) -> None:
    rows.register(engine, rows.account_row(windows=(RateWindow(requests=3, seconds=60),)))
    assert grant(engine, 2)[0] == 2
    granted, wait = grant(engine, 2)
    assert granted == 1
    granted, wait = grant(engine, 2)
    assert granted == 0
    assert 55 < wait <= 60 * 1.02


def test_the_tightest_of_several_windows_counts(engine: Engine) -> None:
    windows = (RateWindow(requests=100, seconds=1), RateWindow(requests=4, seconds=3600))
    rows.register(engine, rows.account_row(windows=windows))
    assert grant(engine, 50)[0] == 4
    assert grant(engine, 1)[1] > 3000


def test_an_account_without_windows_is_not_held_back(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    assert grant(engine, 500)[0] == 500


def test_an_unknown_account_gets_nothing(engine: Engine) -> None:
    assert grant(engine)[0] == 0


def test_no_sliding_window_ever_holds_more_than_its_limit_however_many_ask_at_once(engine: Engine) -> None:
    rows.register(engine, rows.account_row(windows=FIVE_IN_ONE))
    with ThreadPoolExecutor(8) as pool:
        while len(rows.rows(engine, "SELECT 1 FROM request_slot")) < 15:
            list(pool.map(lambda _: grant(engine, 2), range(8)))
    (most,) = rows.rows(
        engine,
        """SELECT max(n) AS n FROM (SELECT count(*) OVER (ORDER BY taken_at
             RANGE BETWEEN CURRENT ROW AND interval '1 second' FOLLOWING) AS n FROM request_slot) s""",
    )
    assert most.n == 5


def test_pruning_forgets_only_what_no_window_looks_at(engine: Engine) -> None:
    windows = (RateWindow(requests=3, seconds=60),)
    rows.register(engine, rows.account_row(windows=windows))
    grant(engine, 3)
    rows.rows(
        engine,
        "UPDATE request_slot SET taken_at = now() - interval '1 hour' WHERE id = (SELECT min(id) FROM request_slot)",
    )
    with transaction(engine) as connection:
        accounts.lock(connection, "bloom", wait=True)
        rate_windows.prune(connection, "bloom", windows)
    assert len(rows.rows(engine, "SELECT 1 FROM request_slot")) == 2
    assert grant(engine, 3)[0] == 1
