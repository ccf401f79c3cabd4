"""Every fault of a status request: it is asked again, and what is paid for is neither lost nor bought anew."""

from collections.abc import Iterator
from typing import Any

import pytest

from ops.simulator import Simulator, SimulatorConfig
from tests.support.wires import Caller
from worker.providers.contract import Refused, RetryRule


@pytest.fixture(scope="module")
def _faulty(base_config: SimulatorConfig) -> Iterator[Simulator]:
    with Simulator(base_config).serve() as running:
        yield running


@pytest.fixture
def sim(_faulty: Simulator) -> Simulator:
    """A simulator without a past and without faults yet; started once, which is what takes the time."""
    _faulty.put_faults({})
    _faulty.reset()
    return _faulty


POLL_FAULTS: list[Any] = [
    "reply_lost",
    "close_after_read",
    "reset_after_read",
    "refuse_503",
    "error_5xx",
    {"kind": "error_5xx", "status": 502},
    "429",
    "402",
    {"kind": "slow", "seconds": 100_000},
    {"kind": "drip", "seconds": 100},
    "truncate",
    {"kind": "truncate", "chunked": True},
    "wrong_content",
    {"kind": "wrong_content", "content_type": "application/json"},
    "html_body",
    "empty_body",
    "not_utf8",
    {"kind": "oversize", "bytes": 17_000_000},
    {"kind": "oversize", "bytes": None, "content_length": False},
    {"kind": "redirect_to", "url": "http://127.0.0.1:1/"},
]


@pytest.mark.parametrize("provider", ["bloom", "posteverywhere", "banatie"])
@pytest.mark.parametrize("fault", POLL_FAULTS)
def test_a_poll_that_fails_is_asked_again_and_loses_nothing(sim: Simulator, provider: str, fault: Any) -> None:
    caller = Caller(sim, provider, seconds=0.5)
    ids = [image.upstream_id for _ in range(2) for image in caller.submit().images]
    lists = [{"match": {"route": route}, "fault": fault, "times": None} for route in ("poll", "list")]
    sim.put_faults(lists)
    for asked in (ids, ids[:1]):
        refused = caller.poll(asked)
        assert isinstance(refused, Refused)
        assert refused.again is (RetryRule.RESUME if fault == "402" else RetryRule.AFTER)
    sim.put_faults({})
    assert set(caller.poll(ids[:1])) == set(ids[:1])
    assert sim.counters()["accepted"] == {provider: 2}
