"""What a call cost, by its answer. A stated cost is booked as stated; an absurd one needs a person."""

from decimal import Decimal
from typing import Final

import structlog

from shared.db import pauses
from shared.db.engine import Connection
from worker.providers.contract import Accepted

_log = structlog.get_logger(__name__)
_TIMES: Final = 20
"""A stated cost above this many times the reserve pauses its account: prices do not change that far at once."""


def cost_of(answer: Accepted, reserved: Decimal | None, asked: int) -> Decimal | None:
    """Return what a call cost, as stated, or by the images that it is charged for; None where the reserve counts.

    More images than asked for were not ordered: only the account's balance can show that they were charged.
    """
    if answer.settled is not None or answer.charged_images is None or reserved is None:
        return answer.settled
    return reserved * answer.charged_images / asked if answer.charged_images < asked else None


def complaint(cost: Decimal, reserved: Decimal | None, *, most: Decimal | None) -> str | None:
    """Return what is wrong with a stated cost, or None; `most` is the highest believable cost of one call.

    A reserve of zero, or none, says nothing about the price. A call may cost more than `most` if its reserve did.
    """
    if reserved and cost > _TIMES * reserved:
        return f"more than {_TIMES} times the {reserved.normalize():f} that were set aside for it"
    if most is not None and cost > max(most, reserved or Decimal(0)):
        return f"more than the {most.normalize():f} of GENQUEUE_MAX_CALL_COST"
    return None


def check_cost(
    connection: Connection, account: str, answer: Accepted, reserved: Decimal | None, *, most: Decimal | None
) -> None:
    """Pause the account for a person if a call's stated cost is absurd; the cost is still booked.

    It locks the account's row, so call it before the submission is written.
    """
    cost = (answer.settled or Decimal(0)) + (answer.elsewhere or Decimal(0))
    wrong = complaint(cost, reserved, most=most)
    if wrong is None:
        return
    reason = f"the provider states that one call cost {cost.normalize():f}, {wrong}"
    _log.warning("cost_unbelievable", account=account, cost=f"{cost:f}", reserved=f"{reserved or 0:f}")
    pauses.pause(connection, account, code="cost_unbelievable", reason=reason, action_url=None)
