"""Lists that are out of order, short, late, frozen or full of strangers, as a plain client meets them."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ops.simulator import Simulator, SimulatorConfig
from tests.contract.simulated_lists import LISTING, TIME, Shop
from tests.support.waiting import until

Open = Callable[[str], Shop]
_EVERY = pytest.mark.parametrize("provider", LISTING)
_ECHOING = pytest.mark.parametrize("provider", ["bloom", "banatie"])  # PostEverywhere's rows have no prompt


@pytest.fixture(scope="module")
def _running(base_config: SimulatorConfig) -> Iterator[Simulator]:
    with Simulator(base_config).serve() as running:
        yield running


@pytest.fixture
def shop(_running: Simulator, web: httpx.Client) -> Open:
    """Open a provider of a simulator without a past, its settings as they were at its start."""
    _running.reset()
    return lambda provider: Shop(_running, web, provider)


@_EVERY
def test_a_list_can_be_newest_first_or_oldest_first(shop: Open, provider: str) -> None:
    at = shop(provider)
    bought = [at.buy(f"p {number}") for number in range(4)]
    newest_first = at.listed()
    at.set(list_order="oldest")
    assert (newest_first, at.listed()) == (bought[::-1], bought)


@_EVERY
def test_a_shuffled_list_shows_each_row_once_over_its_pages_and_is_in_no_order_of_time(
    shop: Open, provider: str
) -> None:
    at = shop(provider)
    bought = [at.buy(f"p {number}") for number in range(12)]
    at.set(list_order="shuffled")
    walked = at.walked(limit=5)
    assert sorted(walked) == sorted(bought)
    assert walked not in (bought, bought[::-1])
    assert walked == at.listed()


@_EVERY
def test_a_page_limit_cuts_pages_shorter_than_asked_and_loses_no_row(shop: Open, provider: str) -> None:
    at = shop(provider)
    bought = [at.buy(f"p {number}") for number in range(5)]
    at.set(list_page_limit=2)
    assert at.listed(limit=50) == bought[:-3:-1]
    assert at.walked(limit=50) == bought[::-1]


def test_bloom_and_banatie_say_honestly_that_a_short_page_is_not_the_last(shop: Open) -> None:
    bloom, banatie = shop("bloom"), shop("banatie")
    for at in (bloom, banatie):
        at.buy("one"), at.buy("two")
        at.set(list_page_limit=1)
    data, pages = bloom.page(limit=50).json()["data"], banatie.page(limit=50).json()["pagination"]
    assert (data["hasMore"], data["nextCursor"] is None) == (True, False)
    assert pages == {"limit": 50, "offset": 0, "total": 2, "hasMore": True}
    assert banatie.page(limit=50, offset=1).json()["pagination"]["hasMore"] is False


def test_bloom_still_answers_for_many_ids_at_once_when_its_pages_are_short(shop: Open) -> None:
    at = shop("bloom")
    bought = [at.buy(f"p {number}") for number in range(4)]
    at.set(list_page_limit=1, list_order="shuffled", list_null_rows=2, list_frozen=True)
    assert at.listed(ids=",".join(bought)) == bought[::-1]


@_EVERY
def test_a_row_is_listed_late_and_known_under_its_own_address_at_once(shop: Open, provider: str) -> None:
    at = shop(provider)
    at.set(list_lag_seconds=3600)
    bought = at.buy()
    assert (at.listed(), at.get(bought).status_code) == ([], 200)
    at.set(list_lag_seconds=0.05)
    until(lambda: at.listed() == [bought])


@_EVERY
def test_a_new_row_is_a_404_under_its_own_address_and_listed_at_once(shop: Open, provider: str) -> None:
    at = shop(provider)
    at.set(get_lag_seconds=3600)
    bought = at.buy()
    assert (at.listed(), at.get(bought).status_code) == ([bought], 404)
    at.set(get_lag_seconds=0.05)
    until(lambda: at.get(bought).status_code == 200)


def test_a_new_image_is_missing_from_blooms_answer_about_ids_as_well(shop: Open) -> None:
    at = shop("bloom")
    bought = at.buy()
    at.set(get_lag_seconds=60)
    assert at.listed(ids=bought) == []


@_EVERY
def test_a_frozen_list_shows_only_what_was_made_before_it_froze(shop: Open, provider: str) -> None:
    at = shop(provider)
    before = at.buy("before")
    at.set(list_frozen=True)
    after = at.buy("after")
    assert (at.listed(), at.get(after).status_code) == ([before], 200)
    at.set(list_frozen=False)
    assert at.listed() == [after, before]


@_EVERY
def test_rows_of_strangers_with_nulls_and_missing_fields_lie_between_the_rows(shop: Open, provider: str) -> None:
    at = shop(provider)
    bought = [at.buy(f"p {number}") for number in range(3)]
    times = [row[TIME[provider]] for row in at.rows()]
    at.set(list_null_rows=4)
    rows = at.rows(limit=3)
    strangers = [row for row in rows if next(iter(row.values())) not in bought]
    assert [next(iter(row.values())) for row in rows if row not in strangers] == bought[::-1]
    assert [len(row) == 1 for row in strangers] == [False, True, False, True]
    assert all(row.get("prompt") is None for row in strangers)
    assert [row[TIME[provider]] for row in rows if TIME[provider] in row and row not in strangers] == times
    assert sorted((row[TIME[provider]] for row in rows if TIME[provider] in row), reverse=True) == [
        row[TIME[provider]] for row in rows if TIME[provider] in row
    ]


@_EVERY
def test_an_empty_list_can_hold_strangers_alone(shop: Open, provider: str) -> None:
    at = shop(provider)
    at.set(list_null_rows=2)
    assert len(at.rows()) == 2


_SENT = 'Cat\u00e9 "quay" - it\'s...'
_TYPOGRAPHIC = "Cat\u00e9 \u201cquay\u201d \u2013 it\u2019s\u2026"


@_ECHOING
@pytest.mark.parametrize(
    ("echo", "told"),
    [
        ("same", _SENT),
        ("cut", _SENT[: len(_SENT) // 2]),
        ("nfd", _SENT.replace("\u00e9", "e\u0301")),
        ("typographic", _TYPOGRAPHIC),
        ("enhanced", f"A detailed, well composed picture of {_SENT}, in balanced light"),
        ("null", None),
    ],
)
def test_lists_and_rows_echo_the_prompt_as_told(shop: Open, provider: str, echo: str, told: str | None) -> None:
    at = shop(provider)
    at.set(prompt_echo=echo)
    bought = at.buy(_SENT)
    names = ("prompt",) if provider == "bloom" else ("prompt", "originalPrompt")
    for row in (at.rows()[0], at.row(bought)):
        assert [row[name] for name in names] == [told] * len(names)


@_ECHOING
def test_lists_and_rows_can_leave_the_prompt_out(shop: Open, provider: str) -> None:
    at = shop(provider)
    at.set(prompt_echo="absent")
    bought = at.buy()
    for row in (at.rows()[0], at.row(bought)):
        assert {"prompt", "originalPrompt"} & set(row) == set()


@_EVERY
@pytest.mark.parametrize("setting", [{"list_page_limit": 0}, {"list_order": "random"}, {"prompt_echo": "loud"}])
def test_a_value_that_makes_no_sense_is_refused_and_changes_nothing(
    shop: Open, provider: str, setting: dict[str, Any]
) -> None:
    at = shop(provider)
    reply = at.web.put(f"{at.sim.url}/_sim/settings", json={provider: {"list_frozen": True, **setting}})
    assert (reply.status_code, str(next(iter(setting))) in reply.json()["error"]) == (400, True)
    assert at.web.get(f"{at.sim.url}/_sim/settings").json()[provider]["list_frozen"] is False
