"""Sweep: searches each provider's own list for pictures that no submission owns.

One that carries the reference of a call of ours is adopted, whatever was believed of that call: the match is certain.
Any other may as well be another user's of the same account; `genqueue strays` shows it to a person.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, cast
from uuid import UUID

import anyio
import structlog

from shared.catalog.parameter import is_uuid
from shared.db import doubts, strays, submissions
from shared.db.engine import Connection
from shared.db.enqueue import wake
from shared.db.strays import Span
from shared.db.submissions import Answer
from shared.lifecycle import ImageState, Outcome
from worker.api_get import ApiGet
from worker.bought import bought
from worker.lookup import Metered, take_slot
from worker.providers.contract import Candidate, Found, UpstreamImage
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)
_LOOK_SECONDS: Final = 30.0


async def sweep(runtime: Runtime) -> None:
    """Search every account whose provider has a list, when that is due, until cancelled."""
    while True:
        for account in runtime.accounts.values():
            if account.wire.find_by in {"usage", "nothing"}:
                continue
            try:
                await search(runtime, account)
            except Exception as error:  # noqa: BLE001 - the next round searches again; the work must go on
                _log.warning("sweep_failed", account=account.name, error=type(error).__name__)
        await anyio.sleep(min(_LOOK_SECONDS, runtime.settings.sweep_seconds))


async def search(runtime: Runtime, account: Account) -> None:
    """Search one account's list from where the last search ended, if it is due and nobody else does.

    Up to the quiet time of the newest call: what is younger may still belong to a call in the air.
    """
    quiet = runtime.quiet_after(account) + account.quiet_seconds
    span = await runtime.sql(
        partial(strays.begin, account=account.name, every_seconds=runtime.settings.sweep_seconds, quiet_seconds=quiet)
    )
    if span is None:
        return
    wire = account.searching(cast("ApiGet", Metered(account.get, partial(take_slot, runtime, account.name))))
    known = await runtime.sql(partial(_known, account.name, span))
    found = await wire.find(None, span.since, known)
    if not isinstance(found, Found):
        _log.info("sweep_refused", account=account.name, code=found.code)
        return
    made = [one for one in found.candidates if one.made_at <= span.until]
    for one in made:
        if is_uuid(one.reference):
            await runtime.sql(partial(_adopt, runtime, account.name, one, UUID(one.reference)))
    record = partial(_record, account.name, made, span if found.complete else None)
    left = await runtime.sql(record)
    _log.info("swept", account=account.name, made=len(made), strays=left, complete=found.complete)


def _known(account: str, span: Span, connection: Connection) -> set[str]:
    return doubts.owned_since(connection, account, span.since) | strays.known(connection, account)


def _record(account: str, made: Sequence[Candidate], span: Span | None, connection: Connection) -> int:
    """Write down what nobody owns, and return how many that are.

    Without `span` the list was not read whole, and the next search begins as this one did.
    """
    owned = doubts.owned(connection, account, [one.upstream_id for one in made])
    left = [one for one in made if one.upstream_id not in owned]
    for one in left:
        ours = is_uuid(one.reference)
        note = f"carries the reference of submission {one.reference}" if ours else "no submission owns it"
        strays.report(connection, account, one.upstream_id, made_at=one.made_at, note=note)
    if span is not None:
        strays.end(connection, account, span)
    return len(left)


def _adopt(runtime: Runtime, account: str, one: Candidate, submission_id: UUID, connection: Connection) -> None:
    """Have the call whose reference a picture carries own it, unless it names none of ours, or one that is known.

    What a provider said of a call itself stands, even against its own list: then a person must look. A transaction for
    each: whoever holds the account's row may wait for a submission, so this one must not wait for the account.
    """
    asked = submissions.asked_by(connection, submission_id)
    if asked is None:
        return
    doubts.lock(connection, account)
    if doubts.owned(connection, account, [one.upstream_id]):
        return
    pictures = bought(asked.missing, asked.request, [UpstreamImage(ImageState.PENDING, one.upstream_id)])
    answer = Answer(Outcome.ACCEPTED, upstream_id=one.upstream_id, images=pictures, inferred=True)
    if not submissions.record(connection, submission_id, answer):
        return
    submissions.follow_late(connection, asked.job_id, submission_id, actor=runtime.sender.name)
    wake(connection)
    _log.warning("adopted", job=str(asked.job_id), submission=str(submission_id))
