"""A worker dies in every gap of a job's road, for each kind of provider: no charge is doubled, none unexplained."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.chaos import orders, verdict
from tests.chaos.evidence import Evidence, gather
from tests.chaos.ground import ChaosSite
from tests.chaos.points import CASES, GAPS, PROVIDERS

_HELD: Final = ("in_doubt", "sender_lost")
_UNBOUGHT: Final = ("in_doubt", "proved_unbought")
_DONE: Final = ("succeeded", None)
_ENDS: Final[dict[str, tuple[tuple[str, str | None], set[int]]]] = {
    "before_post": (_HELD, {0}),
    # The provider may have read the request in the instant before its sender died.
    "after_request_left": (_HELD, {0, 1}),
    "after_reply": (_HELD, {1}),
    "after_keep": (_DONE, {1}),
    "after_commit": (_DONE, {1}),
    "mid_download": (_DONE, {1}),
    "after_put": (_DONE, {1}),
    "before_final_write": (_DONE, {1}),
}
"""What a job becomes whose worker dies there, and how often it may be charged."""
_INLINE_ENDS: Final = {
    # What has arrived lies on the disk, and the next worker there reads it.
    ("after_reply", "openrouter"): (_DONE, {1}),
}


# PostEverywhere's list shows no prompts: several calls in doubt cannot be told from each other.
_FINDING: Final = {"bloom", "banatie"}
_UNPROVED: Final = "SELECT 1 FROM job WHERE error_code = 'sender_lost' AND account = ANY(%s)"
"""The second batch buys after the first one's lost calls were over, so the list proves what they did not buy."""
_NOT_OVER: Final = "SELECT 1 FROM submission WHERE outcome = 'unknown' AND visible_by > clock_timestamp()"
_DEATHS: Final = {
    "while-paying": ("before_post", "after_request_left", "after_reply", "after_keep", "after_commit"),
    "while-copying": ("mid_download", "after_put", "before_final_write"),
}
"""A worker waits until a job of every kind stands in every gap of a row, and dies once for all of them."""


@pytest.fixture(scope="module")
def told(ground: ChaosSite) -> Iterator[dict[str, Evidence]]:
    """Die in every gap with a job of every kind standing there; return by gap what the world knows at the end."""
    assert {gap for gaps in _DEATHS.values() for gap in gaps} == set(GAPS)
    ground.stop_workers()
    ground.simulator.put_faults({})
    ground.start_worker("worker-1", GENQUEUE_WORKER_SLOTS="48")
    ground.await_ticking(1)
    buy_earlier(ground)
    for batch, gaps in _DEATHS.items():
        die(ground, batch, [case for case in CASES if case[0] in gaps])
        ground.await_settled(batch, 90)
        ground.until(lambda: not ground.sql(_NOT_OVER), 90)
    ground.until(lambda: not ground.sql(_UNPROVED, sorted(_FINDING)), 90)
    found = {batch: gather(ground, batch) for batch in _DEATHS}
    yield {gap: found[batch] for batch, gaps in _DEATHS.items() for gap in gaps}
    ground.stop_workers()


def buy_earlier(site: ChaosSite) -> None:
    """Buy from everyone before the first lost call: a list that shows it is known to go back to the call."""
    site.client.enqueue([orders.one(provider, f"earlier-{provider}") for provider in PROVIDERS], batch="earlier")
    site.until(lambda: site.client.totals("earlier") == {"succeeded": len(PROVIDERS)}, 60)


def die(site: ChaosSite, batch: str, cases: list[tuple[str, str]]) -> None:
    """Send a job for each case, and have the worker die once all of them stand in their gaps."""
    for provider in PROVIDERS:
        site.client.pause(provider, "until each job's crash is armed")
    site.client.enqueue([orders.one(provider, f"{gap}-{provider}") for gap, provider in cases], batch=batch)
    for job in site.client.jobs(batch):
        site.points.arm(job["custom_id"].partition("-")[0], str(job["id"]), how="together")
    died = site.process("worker-1").pid
    for provider in PROVIDERS:
        site.client.resume(provider)
    site.until(lambda: not site.points.armed())
    site.forgive()
    site.until(lambda: site.process("worker-1").pid != died)


@pytest.mark.parametrize(("gap", "provider"), CASES)
def test_a_worker_that_dies_there_costs_no_money_and_no_picture(
    told: dict[str, Evidence], gap: str, provider: str
) -> None:
    found, custom_id = told[gap], f"{gap}-{provider}"
    end, charges = _INLINE_ENDS.get((gap, provider), _ENDS[gap])
    charged = len(found.charges.get(custom_id, ()))
    if end == _HELD and provider in _FINDING:
        end = _DONE if charged else _UNBOUGHT
    (job,) = (job for job in found.jobs if job.custom_id == custom_id)
    assert (job.state, job.error_code) == end
    assert charged in charges
    assert [line for line in verdict.faults(found) if custom_id in line or line.startswith(f"{provider}:")] == []


def test_what_is_held_settles_to_the_last_digit_by_the_providers_own_history(
    told: dict[str, Evidence], ground: ChaosSite
) -> None:
    assert verdict.resolve_as_support_would(ground, told["before_post"]) > 0
    after = [gather(ground, batch, objects=False) for batch in _DEATHS]
    assert [line for found in after for line in verdict.faults(found, resolved=True)] == []
