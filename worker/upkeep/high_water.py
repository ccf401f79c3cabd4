"""Keeps a mark outside the database, and finds by it that a restored or failed-over database lacks rows.

The mark lies in the spool directory, at most a second old, and in the bucket, at most half a minute old.
"""

import io
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

import anyio
import structlog

from shared.db import restoration
from shared.db.engine import Connection, transaction
from shared.db.restoration import Mark, Restoration
from worker.transport.digested import InMemory
from worker.transport.storage_errors import ObjectMissing, StorageError

if TYPE_CHECKING:
    from worker.runtime import Runtime

_log = structlog.get_logger(__name__)
_FILE_SECONDS: Final = 1.0
_BUCKET_ROUNDS: Final = 30
_ANSWER_SECONDS: Final = 5.0
"""A bucket that does not answer keeps no worker from starting; its mark is read again within half a minute."""


def check(runtime: "Runtime") -> None:
    """Compare the database with both marks, before this worker claims anything. Waits 5 s for the bucket at most."""
    with transaction(runtime.engine) as connection:
        lineage = restoration.lineage(connection)
    asked: list[Mark] = []
    asking = threading.Thread(target=lambda: asked.extend(_from_bucket(runtime, lineage)), daemon=True)
    asking.start()
    kept = _from_file(runtime.spool_dir, lineage)
    asking.join(_ANSWER_SECONDS)
    with transaction(runtime.engine) as connection:
        _tell(restoration.compare(connection, *kept, *asked))


async def keep_marks(runtime: "Runtime") -> None:
    """Write the mark whenever the ledger has grown, until cancelled."""
    rounds, written = 0, -1
    mark: Mark | None = None
    while True:
        try:
            newest = await runtime.one_statement(restoration.newest)
            if rounds == 0 or not _same_line(mark, newest):
                mark = await runtime.in_transaction(_advance, runtime.spool_dir)
            if mark is not None and rounds % _BUCKET_ROUNDS == 0 and mark.line != written:
                await runtime.in_transaction(_compare, await runtime.in_thread(_from_bucket, runtime, mark.lineage))
                latest = await runtime.one_statement(restoration.newest) or mark  # `mark` stays what the file says
                await runtime.in_thread(_to_bucket, runtime, latest)
                written = latest.line
        except Exception as error:  # noqa: BLE001 - the next round writes it; the work must go on
            _log.warning("mark_not_kept", error=type(error).__name__)
        rounds += 1
        await anyio.sleep(_FILE_SECONDS)


def _same_line(known: Mark | None, newest: Mark | None) -> bool:
    """Tell whether the newest line is still the one that was compared and written last."""
    if known is None or newest is None:
        return known is newest
    return (known.lineage, known.line, known.at) == (newest.lineage, newest.line, newest.at)


def _advance(connection: Connection, spool: Path) -> Mark | None:
    """Write the file anew if the ledger has grown, and only if this database has what the file names."""
    kept = _from_file(spool, restoration.lineage(connection))
    _compare(connection, kept)
    mark = restoration.newest(connection)
    if mark is not None and (not kept or (mark.line, mark.at) != (kept[0].line, kept[0].at)):
        restoration.note(connection, mark)
        _to_file(spool, mark)
    return mark


def _compare(connection: Connection, marks: list[Mark]) -> None:
    _tell(restoration.compare(connection, *marks))


def _tell(found: Restoration | None) -> None:
    if found is not None:
        _log.warning("database_restored", lacks_until=str(found.lacks_until), then=restoration.COMMAND)


def _path(spool: Path, lineage: UUID) -> Path:
    return spool / f"high-water-{lineage}.json"


def _key(lineage: UUID) -> str:
    return f"submissions/high-water-{lineage}.json"


def _from_file(spool: Path, lineage: UUID) -> list[Mark]:
    try:
        return [Mark.of(json.loads(_path(spool, lineage).read_bytes()))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("mark_unreadable", where="spool", error=type(error).__name__)
        return []


def _to_file(spool: Path, mark: Mark) -> None:
    path = _path(spool, mark.lineage)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(_body(mark))
    draft.replace(path)


def _from_bucket(runtime: "Runtime", lineage: UUID) -> list[Mark]:
    file = io.BytesIO()
    try:
        runtime.storage.get_to(_key(lineage), file)
        return [Mark.of(json.loads(file.getvalue()))]
    except ObjectMissing:
        return []
    except (StorageError, ValueError, KeyError, TypeError) as error:
        _log.warning("mark_unreadable", where="bucket", error=type(error).__name__)
        return []


def _to_bucket(runtime: "Runtime", mark: Mark) -> None:
    runtime.storage.put(_key(mark.lineage), InMemory(_body(mark)), content_type="application/json", metadata={})


def _body(mark: Mark) -> bytes:
    return json.dumps(mark.document()).encode()
