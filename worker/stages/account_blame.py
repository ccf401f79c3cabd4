"""Pauses an account at which no image is found any more: its address leads elsewhere."""

from collections.abc import Sequence
from typing import Final

from shared.db import pauses
from shared.db.engine import Connection
from shared.db.jobs import images
from shared.images import ImageChange
from shared.lifecycle import ImageState
from worker.next_step import MISSING_LOOKS
from worker.providers.asking import GONE
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

_JOBS_TO_BLAME: Final = 2
"""The number of jobs whose images must vanish before the account is at fault: a single one may really be gone."""


def blame_account(
    connection: Connection, runtime: Runtime, account: ServedAccount, changes: Sequence[ImageChange]
) -> None:
    """Pause an account if no look finds any image that was bought there: its address leads elsewhere."""
    if not any(_is_unvouched(change) for change in changes):
        return
    jobs = images.lacking_jobs(
        connection, account.name, code=GONE, looks=MISSING_LOOKS, seconds=runtime.settings.believe_seconds
    )
    if jobs >= _JOBS_TO_BLAME:
        reason = f"404 for everything that {jobs} jobs bought there, and no image was found meanwhile"
        pauses.pause(
            connection,
            account.name,
            code=pauses.ADDRESS_WRONG,
            reason=reason,
            action_url=None,
            probing=runtime.probing,
        )


def _is_unvouched(change: ImageChange) -> bool:
    return change.error_code == GONE and change.state is not ImageState.FAILED and change.lacking_looks >= MISSING_LOOKS
