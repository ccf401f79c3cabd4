"""A plan's arithmetic: what is certain of a price, the least time under limits, what is said of an account."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from producer.plan import AccountPlan, BatchPlan
from producer.plan.remarks import Remark, remarks
from producer.plan.shares import Share
from producer.plan.terms import known_terms
from producer.plan.times import Bound, ahead_of, duration, least_time, time_left, usual_time
from shared import catalog
from shared.account_settings import AccountSettings, RateWindow
from shared.catalog.estimates import estimate, least
from shared.db.read.planning import Standing
from shared.db.read.usual import Usual
from shared.requests import GenerationRequest
from shared.settings import Settings
from tests.support.wires import BRAND
from worker.providers import WireSettings, wire_for
from worker.transport.api_get import ApiGet
from worker.transport.paid_post import PaidPost

PRICES = {"a/b": Decimal("0.035")}


def request(**given: Any) -> GenerationRequest:
    return GenerationRequest(prompt="a harbour", **given)


@pytest.mark.parametrize(
    ("provider", "asked", "low", "high"),
    [
        ("banatie", request(), "0", "0"),
        ("bloom", request(n=3, size="4K"), "6", "6"),
        ("bloom", request(n=3, model="fast"), "0", "3"),
        ("posteverywhere", request(), "15", "15"),
        ("openrouter", request(model="a/b"), "0.035", "0.035"),
        ("openrouter", request(model="a/b", n=4), "0.035", "0.140"),
        ("getimg", request(model="a/b"), "0.035", "0.035"),
    ],
)
def test_what_is_certain_of_a_price_is_at_most_the_price(
    provider: str, asked: GenerationRequest, low: str, high: str
) -> None:
    known = catalog.get(provider)
    certain, most = least(known, asked, PRICES), known.price(asked, PRICES)
    assert certain is not None
    assert most is not None
    assert (str(certain.amount), str(most.amount)) == (low, high)


def test_nothing_is_certain_of_a_price_that_nobody_knows() -> None:
    assert least(catalog.get("openrouter"), request(model="c/d", n=2), PRICES) is None


@pytest.mark.parametrize("name", catalog.names())
def test_the_page_of_polls_that_a_plan_counts_on_is_that_of_the_wire(name: str) -> None:
    post, get = PaidPost(timeout_seconds=1, connect_seconds=1), ApiGet(timeout_seconds=1, connect_seconds=1)
    wire = wire_for(name, WireSettings(catalog.get(name).base_url, SecretStr("key"), post, get))
    assert estimate(name).poll_page in {0, wire.poll_page}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (4319, "1 h 11 min"), (7200, "2 h"), (90_000, "1 d 1 h")],
)
def test_a_least_time_is_rounded_down(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def share(provider: str, rows: int, *, priorities: dict[int, int] | None = None) -> Share:
    return Share(provider, provider, rows=rows, images=rows, priorities=Counter(priorities or {0: rows}))


def row(**changes: Any) -> Standing:
    plain = Standing(4, (), None, None, Decimal(0), None, None, None, seen=True, fresh=True, terms=None, waiting={})
    return plain._replace(**changes)


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [(1, 8.0), (100, 200.0), (101, 3600.0), (200, 3600.0), (201, 7200.0)],
)
def test_a_window_holds_back_only_what_does_not_fit_into_it(rows: int, seconds: float) -> None:
    assert least_time(share("banatie", rows), 0, None).seconds == seconds


def test_the_tightest_of_an_accounts_own_limits_bounds_its_time() -> None:
    windows = RateWindow(requests=10, seconds=60), RateWindow(requests=5, seconds=600, scope="submit")
    assert least_time(share("bloom", 11), 0, row(windows=windows)) == Bound(1200.0, "5/600s (paid)")


def test_polls_count_in_a_window_of_all_requests() -> None:
    windows = (RateWindow(requests=10, seconds=60),)
    assert least_time(share("bloom", 10), 0, row(windows=windows)).seconds == 60.0


def test_those_who_are_ahead_take_their_time_too() -> None:
    assert least_time(share("banatie", 1), 100, None).seconds == 3600.0


def test_nothing_new_takes_no_time() -> None:
    assert least_time(share("banatie", 0), 100, None) == Bound(0.0, "")


def lately(provider: str = "bloom", **known: Any) -> Usual:
    given: dict[str, Any] = {"call_seconds": 2.0, "since_seconds": 5.0, "ready_seconds": 30.0, **known}
    return Usual(provider, provider, 4, (RateWindow(requests=10, seconds=60),), **given)


def test_the_usual_time_is_that_of_calls_side_by_side_or_of_a_window_and_then_of_the_last_pictures() -> None:
    assert usual_time(8, lately()) == 2 * 2 + 30
    assert usual_time(25, lately()) == 2 * 60 + 30
    assert usual_time(0, lately()) == 30 - 5
    assert usual_time(0, lately(since_seconds=90.0)) == 1.0


def test_the_time_left_is_that_of_the_slowest_provider_and_unknown_where_one_is() -> None:
    counts = {"bloom": {"queued": 8, "succeeded": 90}, "getimg": {"pending": 1}, "banatie": {"failed": 3}}
    known = [lately(), lately("getimg", ready_seconds=100.0)]
    assert time_left(counts, known) == 95.0
    assert time_left(counts, known[:1]) is None
    assert time_left({"bloom": {"succeeded": 1}}, known) is None


@pytest.mark.parametrize(
    ("line", "ahead"),
    [
        ({}, 0),
        ({0: 3}, 3),
        ({0: 500}, 10),  # those of the same priority take turns
        ({5: 7, 0: 2, -1: 900}, 9),
    ],
)
def test_ahead_in_line_are_the_more_urgent_and_as_many_of_the_same_priority(line: dict[int, int], ahead: int) -> None:
    assert ahead_of(share("bloom", 10), line) == ahead


def test_the_last_of_a_file_with_two_priorities_is_the_less_urgent() -> None:
    assert ahead_of(share("bloom", 10, priorities={9: 8, -3: 2}), {0: 50, -3: 50}) == 52


def planned(*shares: Share) -> BatchPlan:
    accounts = tuple(AccountPlan(share, 0, 0, Bound(0.0, ""), None, None, ()) for share in shares)
    return BatchPlan("b", batch_exists=False, accounts=accounts, conflict_count=0, conflicts=(), remarks=())


def test_credits_are_summed_by_provider_and_money_is_exact() -> None:
    cents = Decimal("0.1"), Decimal("0.2")
    totals = planned(
        Share("bloom", "bloom", low=Decimal(1), high=Decimal(2)),
        Share("bloom_eu", "bloom", low=Decimal(1), high=Decimal(3)),
        Share("posteverywhere", "posteverywhere", low=Decimal(15), high=Decimal(15)),
        *(Share(f"getimg_{cent}", "getimg", low=cent, high=cent) for cent in cents),
    ).totals
    assert [(one.unit, one.provider, str(one.low), str(one.high)) for one in totals] == [
        ("credit", "bloom", "2", "5"),
        ("credit", "posteverywhere", "15", "15"),
        ("USD", None, "0.3", "0.3"),
    ]


def test_one_unknown_price_makes_the_highest_sum_unknown() -> None:
    known = Share("getimg", "getimg", low=Decimal(1), high=Decimal(1))
    unknown = Share("openrouter", "openrouter", low=Decimal(2), high=Decimal(2), unpriced=Counter({"a/b": 1}))
    (total,) = planned(known, unknown).totals
    assert (total.low, total.high) == (Decimal(3), None)


def said(
    standing: Standing | None,
    *,
    settings: Settings | None = None,
    provider: str = "bloom",
    seconds: float = 0.0,
    capped: bool = False,
    **changes: Any,
) -> list[Remark]:
    share = Share(provider, provider, high=Decimal(10), **changes)
    known = known_terms(settings or Settings(), {provider: standing} if standing else {}).get(provider)
    return list(remarks(share, standing, settings or Settings(), known, seconds=seconds, capped=capped))


def test_what_workers_said_of_an_account_wins_over_this_commands_settings() -> None:
    told = {"prices": {}, "has_brand": True, "allow_unknown_price": True}
    assert said(row(terms=told), without_brand=2) == []
    (unpriced,) = said(row(terms=told), unpriced=Counter({"m": 1}))
    assert (unpriced.code, unpriced.waits) == ("price_unknown", False)
    (bare,) = said(row(terms={**told, "has_brand": False}), without_brand=2)
    assert (bare.code, bare.waits) == ("brand_missing", True)


def test_of_an_account_that_is_ready_nothing_is_said() -> None:
    assert said(row(balance=Decimal(10))) == []


def test_an_account_without_a_worker_names_the_setting_of_its_key() -> None:
    for remark in (*said(None), *said(row(seen=False, fresh=False))):
        assert (remark.code, remark.waits) == ("account_unseen", True)
        assert "GENQUEUE_BLOOM_API_KEY" in remark.do


def test_a_paused_account_shows_its_reason_and_link_and_how_to_resume() -> None:
    paused = row(
        fresh=False,
        paused_at=datetime(2026, 1, 2, tzinfo=UTC),
        paused_reason="no credit",
        action_url="https://b.example",
    )
    (remark,) = said(paused)
    assert (remark.code, remark.link) == ("account_paused", "https://b.example")
    assert "no credit" in remark.seen
    assert remark.do == "settle it (https://b.example), then genqueue resume bloom"


def test_a_balance_below_the_highest_cost_says_by_how_much() -> None:
    (remark,) = said(row(balance=Decimal("7.5")))
    assert remark.code == "balance_short"
    assert "2.5 less" in remark.seen


def test_a_time_beyond_the_deadline_is_said() -> None:
    (remark,) = said(row(), seconds=86_401.0)
    assert remark.code == "deadline_short"
    assert "GENQUEUE_DEADLINE_SECONDS" in remark.do
    assert said(row(), seconds=86_400.0) == []


def test_rows_without_a_brand_need_one_of_the_account() -> None:
    account = AccountSettings(provider="bloom")
    (known,) = said(row(), settings=Settings(accounts={"bloom": account}), without_brand=2)
    (elsewhere,) = said(row(), without_brand=2)
    assert (known.code, known.waits) == ("brand_missing", True)
    assert (elsewhere.code, elsewhere.waits) == ("brand_missing", False)  # the workers' settings may have one
    with_brand = account.model_copy(update={"brand_session_id": BRAND})
    assert said(row(), settings=Settings(accounts={"bloom": with_brand}), without_brand=2) == []


def test_unknown_prices_are_counted_and_the_commonest_models_named() -> None:
    (remark,) = said(row(), provider="getimg", unpriced=Counter({"a": 1, "b": 5, "c": 2, "d": 1}))
    assert remark.code == "price_unknown"
    assert remark.seen.startswith("price unknown of 9 rows")
    assert "GENQUEUE_GETIMG_PRICES=b=...,c=...,a=..." in remark.do
    assert "1 models more" in remark.do


@pytest.mark.parametrize(
    ("account", "capped", "waits"),
    [
        (None, False, False),  # the workers' settings may have the price
        ({}, False, True),
        ({"allow_unknown_price": True}, False, False),
        ({"allow_unknown_price": True}, True, True),  # no cap can be kept without a price
    ],
)
def test_rows_without_a_price_wait_unless_the_account_allows_it(
    account: dict[str, Any] | None, *, capped: bool, waits: bool
) -> None:
    known = {} if account is None else {"bloom": AccountSettings(provider="bloom", **account)}
    (remark,) = said(row(), settings=Settings(accounts=known), unpriced=Counter({"a": 1}), capped=capped)
    assert (remark.code, remark.waits) == ("price_unknown", waits)


def test_a_daily_cap_is_short_by_what_is_spent_and_what_waits_already() -> None:
    assert said(row(daily_cap=Decimal(15), spent_today=Decimal(3)), due=Decimal(2)) == []
    (remark,) = said(row(daily_cap=Decimal(15), spent_today=Decimal(4)), due=Decimal(2))
    assert (remark.code, remark.waits) == ("daily_cap_short", True)
    assert "11 credit left of the day's 15, 1 less than the 12" in remark.seen
    assert "GENQUEUE_BLOOM_DAILY_CAP" in remark.do
