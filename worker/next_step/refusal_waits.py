"""Decides how long to wait after a provider refused a paid call or a look, such as with 429 and `Retry-After`.

`shared/db/accounts.py` keeps the wait of a whole account, `slow_down`; `shared/db/pauses.py` keeps its pauses.
"""

from shared.backoff import LONGEST_WAIT_SECONDS
from worker.next_step.inputs import DecisionInputs
from worker.next_step.look_times import grown
from worker.providers.contract import Refused, RetryRule


def wait_after_refused_call(inputs: DecisionInputs, refused: Refused, *, tries: int) -> float:
    """Return the seconds until a refused call may be made again: the server's own wait, or a growing one.

    A server that asks for no wait, or for a moment, names no pace: calls would hammer it.
    """
    asked = refused.after_seconds
    if asked is None or asked < inputs.settings.retry_first_seconds:
        return inputs.backoff(tries)
    return min(asked, LONGEST_WAIT_SECONDS)


def wait_after_refused_look(inputs: DecisionInputs, refused: Refused, at_most: float) -> float:
    """Return the seconds until a refused look is tried again, at most `at_most` if the provider names a time."""
    if refused.again is RetryRule.RESUME:
        return inputs.settings.retry_max_seconds
    if refused.again is RetryRule.AFTER and refused.after_seconds is not None:
        return min(refused.after_seconds, at_most)
    return grown(inputs, 1)
