"""Alerts: a problem is told when it begins, seldom while it lasts, and when it is over."""

import pytest

from shared.alerts import AGAIN_SECONDS, Alerts
from shared.problems import Problem

PAUSED = Problem("account_paused", "bloom", "account bloom is paused")
HELD = Problem("held", "bloom", "3 jobs are held")


def states(alerts: Alerts, *found: Problem, at: float) -> list[tuple[str, str]]:
    return [(alert.state, alert.problem.code) for alert in alerts.next(found, at)]


def test_a_problem_is_told_once_again_after_hours_and_when_it_is_over() -> None:
    alerts = Alerts()
    assert states(alerts, PAUSED, at=0) == [("began", "account_paused")]
    assert states(alerts, PAUSED, at=15) == []
    assert states(alerts, PAUSED, at=AGAIN_SECONDS + 1) == [("lasts", "account_paused")]
    assert states(alerts, at=AGAIN_SECONDS + 30) == []
    assert states(alerts, at=AGAIN_SECONDS + 90) == [("over", "account_paused")]
    assert states(alerts, at=AGAIN_SECONDS + 105) == []


def test_a_problem_that_comes_and_goes_is_one_problem() -> None:
    alerts = Alerts()
    said = [states(alerts, *([PAUSED] if second % 30 else []), at=second) for second in range(0, 600, 15)]
    assert [one for one in said if one] == [[("began", "account_paused")]]


@pytest.mark.parametrize(("code", "patience"), [("held", 4 * 3600.0), ("bucket", 30.0), ("worker_silent", 60.0)])
def test_what_may_pass_is_told_only_when_it_has_lasted(code: str, patience: float) -> None:
    alerts, problem = Alerts(), Problem(code, "x", "words")
    assert states(alerts, problem, at=0) == []
    assert states(alerts, problem, at=patience - 1) == []
    assert states(alerts, problem, at=patience) == [("began", code)]
    passed = Alerts()
    assert states(passed, problem, at=0) == states(passed, at=100) == [], "what was never told does not end"


def test_two_accounts_are_two_problems_and_new_words_are_none() -> None:
    alerts = Alerts()
    other = Problem("account_paused", "getimg", "account getimg is paused")
    assert len(states(alerts, PAUSED, other, at=0)) == 2
    assert states(alerts, Problem("account_paused", "bloom", "other words"), other, at=15) == []
