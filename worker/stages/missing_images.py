"""Handles images that a look finds missing or failed. One look may be wrong; several looks over some time are believed.

A provider that restarts, or lags behind its own writes, answers 404 for an image that it will show again. One that
tries a failed generation again calls it failed meanwhile.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shared.db import pauses
from shared.db.engine import Connection
from shared.db.jobs import images
from shared.db.jobs.images import ClaimedImage, ImageChange
from shared.lifecycle import ImageState
from worker.next_step import MISSING_LOOKS
from worker.providers.asking import GONE
from worker.providers.contract import UpstreamImage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

_LINK_LATE_SHARE: Final = 1 / 3  # a link that comes later than its state is a matter of minutes
NO_LINK: Final = "result_not_downloadable"
_JOBS_TO_BLAME: Final = 2
"""The number of jobs whose images must vanish before the account is at fault: a single one may really be gone."""


def is_there(found: UpstreamImage) -> bool:
    """Tell whether the provider knows this image."""
    return found.error_code != GONE


def after_look(
    runtime: Runtime,
    account: ServedAccount,
    before: ImageChange,
    found: UpstreamImage,
    image: ClaimedImage,
    *,
    others_found: bool = False,
) -> ImageChange:
    """Return an image's state after a look found it missing or failed: as `before` with a note, or failed if believed.

    `others_found`: the same look found another image of the account. It does not count for images bought with another
    key, because this key may not see them.
    """
    code = found.error_code or NO_LINK
    same = image.lacking_looks > 0 and image.error_code == code
    looks = image.lacking_looks + 1 if same else 1
    what = found.error or "the provider gives no link to this picture"
    said = f"{what}, {looks} time(s) since {image.lacking_clock} UTC"
    noted = replace(before, lacking_looks=looks, error_code=code, error=said)
    if not same or not _is_long_enough(runtime, code, looks, image.lacking_seconds):
        return noted
    if code != GONE or ((others_found or image.others_found) and image.key_id in {None, account.key_id}):
        final = found.error_code if found.state is ImageState.FAILED else None
        return replace(noted, state=found.state, lacking_looks=0, error_code=final, error=said if final else None)
    return replace(noted, error=f"{said}; no other image of this account was found since")


def _is_long_enough(runtime: Runtime, code: str, looks: int, seconds: float) -> bool:
    needed = runtime.settings.believe_seconds * (1 if code == GONE else _LINK_LATE_SHARE)
    return looks >= MISSING_LOOKS and seconds >= needed


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
