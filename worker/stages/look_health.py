"""Records what looks show about their account as a whole."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from shared.db import accounts, pauses
from shared.db.engine import Connection
from shared.db.jobs.prompts import prompts
from shared.notes import short_note
from worker.next_step import LONGEST_LOOK_WAIT
from worker.providers.contract import Refused, RetryRule
from worker.providers.quoted_prompt import without_prompts
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

_log = structlog.get_logger(__name__)
_MINUTE: Final = (
    60.0  # the longest wait that a look's answer may impose on the next look, and on paid calls that share its windows
)


@dataclass(frozen=True, slots=True)
class RefusedLook:
    """What a provider said in place of an answer about the images of `jobs`."""

    refused: Refused
    jobs: Collection[UUID]

    def said(self, connection: Connection) -> str:
        """Return its words without the prompts of these jobs: they become the reason of a pause, and go to logs."""
        return without_prompts(self.refused.message, prompts(connection, self.jobs))


def record_looks(
    runtime: Runtime,
    account: ServedAccount,
    connection: Connection,
    *,
    answered: bool,
    found: bool,
    refusal: RefusedLook | None,
) -> float:
    """Record whether the account's looks are answered; slow it down or pause it if the provider asks for that.

    `answered`: at least one request was answered, so a refused key or an empty balance is said of one image, not of the
    account. `found`: an answer showed an image of ours. Returns the longest wait in seconds that a server may impose on
    the next look: a minute, or as long as looks have already failed.
    """
    if answered:
        fresh = runtime.settings.believe_seconds / 100
        pauses.record_look(connection, account.name, found=found, fresh_seconds=fresh)
    if refusal is None:
        return _MINUTE
    refused = refusal.refused
    _log.info("poll_refused", account=account.name, code=refused.code, status=refused.http_status)
    if refused.again is RetryRule.RESUME and not answered:
        pauses.pause(
            connection,
            account.name,
            code=refused.code,
            reason=refusal.said(connection),
            action_url=refused.action_url,
            probing=runtime.probing,
        )
    elif refused.after_seconds is not None and any(window.scope == "all" for window in account.provider.windows):
        accounts.slow_down(connection, account.name, min(refused.after_seconds, _MINUTE))
    failing = 0.0 if answered else _silence(connection, runtime, account, refusal)
    return min(max(failing, _MINUTE), LONGEST_LOOK_WAIT)


def _silence(connection: Connection, runtime: Runtime, account: ServedAccount, refusal: RefusedLook) -> float:
    """Return for how many seconds no look was answered; after too long, pause the account's purchases."""
    seconds, since = pauses.record_failed_look(connection, account.name)
    if seconds >= runtime.settings.looks_failing_seconds:
        last = refusal.said(connection)
        reason = f"no question about purchases was answered since {since} UTC; the last: {last}"
        pauses.pause(
            connection,
            account.name,
            code=pauses.LOOKS_FAILING,
            reason=short_note(reason),
            action_url=None,
            probing=runtime.probing,
        )
    return seconds
