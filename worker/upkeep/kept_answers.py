"""Reads the kept answers of jobs in doubt once, as a worker starts: its version may read what none could before.

The next look at such a job may be a day away, and the links in an answer live for an hour. Nobody outside is asked.
"""

from typing import Final

import anyio
import structlog

from shared.backoff import delay
from shared.db.payments import kept_answers as db
from shared.db.payments.kept_answers import KeptInDoubt
from worker.evidence import unreadable
from worker.evidence.inline_answers import recover
from worker.runtime import Runtime

_log = structlog.get_logger(__name__)
_MOST: Final = 500
_MOST_SECONDS: Final = 60.0


async def read_kept(runtime: Runtime) -> None:
    """Read the newest kept answers of the accounts served here, and record the purchases in them."""
    tries = 0
    while True:
        try:
            waiting = await runtime.in_transaction(db.waiting, list(runtime.accounts), most=_MOST)
        except Exception as error:  # noqa: BLE001 - the database may be away when the machine starts
            _log.warning("kept_answers_not_read", error=type(error).__name__)
            tries += 1
            await anyio.sleep(delay(tries, first_seconds=0.5, max_seconds=_MOST_SECONDS, random=runtime.random))
        else:
            break
    for one in waiting:
        await _read(runtime, one)


async def _read(runtime: Runtime, one: KeptInDoubt) -> None:
    account = runtime.accounts[one.account]
    try:
        if account.wire.inline:
            await recover(runtime, account, one.submission_id)
        else:
            await unreadable.read_again(runtime, account, one.job_id)
    except Exception as error:  # noqa: BLE001 - the job's own look reads it; the others must not wait for it
        _log.warning("kept_answers_not_read", submission=str(one.submission_id), error=type(error).__name__)
