"""Whether a refused look is said of one job's images alone: then the account buys on, and only that job waits."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog

from shared.db import rate_windows
from shared.db.jobs import images
from shared.db.pauses import Probe
from worker.providers.contract import Refused, RetryRule
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.upkeep.probe import is_over

_log = structlog.get_logger(__name__)
_OF_WHAT_WAS_ASKED_FOR: Final = frozenset(range(300, 500)) - {408, 425, 429}
"""Statuses that may be said of one image: not those of a server that is busy or down."""


async def is_of_one_job(
    runtime: Runtime, account: ServedAccount, refused: Refused, jobs: Sequence[UUID], *, copying: bool = False
) -> bool:
    """Tell whether a refusal is said of the images of one job: no other job's look failed, and the account answers.

    The first such refusal still pauses the account. After a probe has ended that pause, the same refusal of the same
    job must not begin it again. While the job is `copying`, the host of its link refuses the image too.
    """
    if refused.http_status not in _OF_WHAT_WAS_ASKED_FOR or len(set(jobs)) != 1:
        return False
    failed = await runtime.one_statement(images.refused_jobs, account.name)
    before = {jobs[0]} if refused.again is RetryRule.RESUME and not copying else failed & {jobs[0]}
    if failed != before:
        return False
    granted, _wait = await runtime.in_transaction(rate_windows.grant, account.name, "poll", 1)
    alone = granted > 0 and await _answers(account, refused.code)
    if alone:
        _log.info("look_refused_alone", account=account.name, code=refused.code, status=refused.http_status)
    return alone


async def _answers(account: ServedAccount, code: str) -> bool:
    """Tell whether the account's own question is answered, so that a probe would end a pause with this code."""
    try:
        return is_over(Probe(code, None), await account.wire.account())
    except Exception:  # noqa: BLE001 - a defect there must keep no job from its bound
        _log.exception("wire_defect", account=account.name)
        return False
