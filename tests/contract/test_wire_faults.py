"""Every fault a provider can have, met by every wire: our verdict and the provider's bill never contradict."""

from collections.abc import Iterator
from typing import Any

import pytest

from ops.simulator import Simulator, SimulatorConfig
from shared.errors import CODES
from shared.lifecycle import Outcome
from tests.support.wires import PROVIDERS, Caller
from worker.providers.contract import Accepted, Refused, RetryRule

EACH = pytest.mark.parametrize("provider", PROVIDERS)
ACCEPTED, REJECTED, UNKNOWN = Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN


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


def outcome(answer: Accepted | Refused) -> Outcome:
    if isinstance(answer, Accepted):
        return Outcome.ACCEPTED
    assert answer.code in CODES
    return answer.outcome


def agrees(answer: Accepted | Refused, sim: Simulator, provider: str) -> bool:
    """Say whether the provider's bill has what our verdict allows, and whether one request reached it at most."""
    # Of this provider alone: another's last test may just be noticing that its caller has gone.
    lines, posts = len(sim.bill(provider)["lines"]), sim.counters()["paid_posts"].get(provider, 0)
    allowed = {ACCEPTED: {1}, UNKNOWN: {0, 1}}.get(outcome(answer), {0})
    return lines in allowed and posts <= 1


FAULTS: list[tuple[Any, Outcome]] = [
    ("reply_lost", UNKNOWN),
    ("close_after_read", UNKNOWN),
    ({"kind": "close_after_read", "accepted": True}, UNKNOWN),
    ("reset_after_read", UNKNOWN),
    ({"kind": "reset_after_read", "accepted": True}, UNKNOWN),
    ("refuse_503", UNKNOWN),
    ({"kind": "refuse_503", "retry_after": 7}, UNKNOWN),
    ("error_5xx", UNKNOWN),
    ({"kind": "error_5xx", "accepted": True}, UNKNOWN),
    ({"kind": "error_5xx", "status": 504}, UNKNOWN),
    ("429", REJECTED),
    ("402", REJECTED),
    ({"kind": "slow", "seconds": 1}, ACCEPTED),
    ({"kind": "slow", "seconds": 100_000}, UNKNOWN),
    ({"kind": "drip", "seconds": 0.001}, ACCEPTED),
    ({"kind": "drip", "seconds": 100}, UNKNOWN),
    ("truncate", UNKNOWN),
    ({"kind": "truncate", "chunked": True}, UNKNOWN),
    ("wrong_content", UNKNOWN),
    ({"kind": "wrong_content", "content_type": "application/json"}, UNKNOWN),
    ("html_body", UNKNOWN),
    ("gateway_page", UNKNOWN),
    *(({"kind": "wrong_status", "status": status}, ACCEPTED) for status in (301, 400, 402, 404, 422, 429, 500, 503)),
    *(({"kind": "gateway_page", "status": status}, UNKNOWN) for status in (400, 409, 413, 422, 502)),
    ("empty_body", UNKNOWN),
    ("not_utf8", UNKNOWN),
    ({"kind": "oversize", "bytes": 6_000_000}, UNKNOWN),
    ({"kind": "oversize", "bytes": None, "content_length": False}, UNKNOWN),
    ({"kind": "redirect_to", "url": "http://127.0.0.1:1/"}, UNKNOWN),
    ({"kind": "redirect_to", "url": "http://127.0.0.1:1/", "status": 308}, UNKNOWN),
    ("early_expiry", ACCEPTED),
]


def outcome_comes_late(fault: Any) -> bool:
    return fault == {"kind": "drip", "seconds": 0.001}


def is_oversize(fault: Any) -> bool:
    return isinstance(fault, dict) and fault["kind"] == "oversize"


@EACH
@pytest.mark.parametrize(("fault", "expected"), FAULTS)
def test_the_verdict_on_a_fault_agrees_with_the_bill(
    sim: Simulator, provider: str, fault: Any, expected: Outcome
) -> None:
    sim.put_faults([{"match": {"route": "submit"}, "fault": fault}])
    answer = Caller(sim, provider, seconds=20 if outcome_comes_late(fault) else 0.8).submit()
    if provider == "openrouter" and is_oversize(fault):
        # The images stand before what is too much; whether it was billed shows only where it came whole.
        assert isinstance(answer, Accepted)
        assert agrees(answer, sim, provider) or not answer.whole
        return
    assert outcome(answer) is expected
    assert agrees(answer, sim, provider)


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("bloom", ACCEPTED),
        ("getimg", UNKNOWN),
        ("openrouter", REJECTED),
        ("posteverywhere", ACCEPTED),
        ("banatie", ACCEPTED),
    ],
)
def test_a_failed_generation_is_what_the_provider_makes_of_it(sim: Simulator, provider: str, expected: Outcome) -> None:
    sim.put_faults([{"match": {"route": "submit"}, "fault": "failed_generation"}])
    answer = Caller(sim, provider).submit()
    assert outcome(answer) is expected
    assert agrees(answer, sim, provider)


@EACH
@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 520, 524, 529])
@pytest.mark.parametrize("accepted", [True, False])
def test_a_server_error_is_unknown_whether_or_not_it_was_billed(
    sim: Simulator, *, provider: str, status: int, accepted: bool
) -> None:
    sim.put_faults(
        [{"match": {"route": "submit"}, "fault": {"kind": "error_5xx", "status": status, "accepted": accepted}}]
    )
    answer = Caller(sim, provider).submit()
    if (provider, status) == ("openrouter", 502):
        # The vendor's own word for a generation that failed or was aborted, and is not billed.
        assert (outcome(answer), answer.again, answer.code) == (REJECTED, RetryRule.AFTER, "provider_unavailable")
    else:
        assert (outcome(answer), answer.again, answer.code) == (UNKNOWN, RetryRule.AFTER, "provider_error")
    assert agrees(answer, sim, provider)
    assert len(sim.bill(provider)["lines"]) == (accepted and provider != "openrouter")


@EACH
@pytest.mark.parametrize(("header", "seconds"), [(7, 7), ("Fri, 31 Dec 2100 23:59:59 GMT", 86_400), ("soon", None)])
def test_a_rate_limit_says_when_to_come_back(
    sim: Simulator, provider: str, header: float | str, seconds: float | None
) -> None:
    sim.put_faults([{"match": {"route": "submit"}, "fault": {"kind": "429", "retry_after": header}}])
    answer = Caller(sim, provider).submit()
    assert (answer.outcome, answer.again, answer.after_seconds) == (REJECTED, RetryRule.AFTER, seconds)


@EACH
def test_a_provider_that_is_not_there_was_sent_nothing(base_config: SimulatorConfig, provider: str) -> None:
    with Simulator(base_config).serve() as gone:
        caller = Caller(gone, provider)
    answer = caller.submit()
    assert (answer.outcome, answer.again, answer.code) == (Outcome.NOT_SENT, RetryRule.AFTER, "provider_unreachable")
    assert len(gone.bill()["lines"]) == 0
