"""What `genqueue doctor` checks besides the database: settings, broker, bucket and spool."""

import shutil
from collections.abc import Iterator
from typing import Final

from ops.cli import broker_check
from ops.cli.checks.running import Check, Finding, how_to_start
from ops.cli.download import bucket
from shared.setting_origins import unknown_variables
from shared.settings import Settings
from worker.evidence import private_files
from worker.evidence.private_files import NotOursError
from worker.evidence.replies import LEAST_ROOM_BYTES
from worker.runtime import spool_directory
from worker.transport.storage_errors import StorageError
from worker.transport.store_proof import prove

_SILENCE_SECONDS: Final = 3.0


def of_servers(settings: Settings) -> dict[str, Check]:
    """Return the checks that need no database."""
    return {
        "settings": lambda: _unknown_settings(settings),
        "broker": lambda: [_broker(settings)],
        "bucket": lambda: [_bucket(settings)],
        "spool": lambda: [_spool(settings)],
    }


def _unknown_settings(settings: Settings) -> Iterator[Finding]:
    for stray in unknown_variables(settings):
        do = f"did you mean {stray.meant}?" if stray.meant else "unset it"
        yield Finding(stray.name, ok=False, seen="no such setting", do=do)


def _broker(settings: Settings) -> Finding:
    if not settings.broker_url.get_secret_value():
        return Finding("broker", ok=False, seen="GENQUEUE_BROKER_URL is not set", do="set it; only workers need it")
    state = broker_check.look(settings)
    do = how_to_start("broker", state.do) if state.do.startswith("start Redis") else state.do
    return Finding("broker", ok=not state.do, seen=state.seen, do=do)


def _bucket(settings: Settings) -> Finding:
    try:
        storage = bucket(_SILENCE_SECONDS)
        storage.check()
        prove(storage)
    except StorageError as error:
        do = how_to_start("bucket", "correct the S3 settings; only workers need them")
        return Finding("bucket", ok=False, seen=str(error), do=do)
    return Finding("bucket", ok=True, seen=f"{settings.s3_bucket} takes objects and verifies them")


def _spool(settings: Settings) -> Finding:
    """Check the spool of a worker on this host: whether only we can write there, and whether there is room."""
    path = spool_directory(settings)
    if not path.exists():
        return Finding("spool", ok=True, seen=f"{path} does not exist yet: no worker has run here")
    try:
        private_files.make_private(path, tighten=False)
        free = shutil.disk_usage(path).free
    except (NotOursError, OSError) as error:
        do = "correct it, or set GENQUEUE_SPOOL_DIR to a directory that only the worker can write"
        return Finding("spool", ok=False, seen=str(error), do=do)
    room = free >= LEAST_ROOM_BYTES
    do = "" if room else "free space there: calls with images in their answers wait for it"
    return Finding("spool", ok=room, seen=f"{free >> 20:,} MiB free in {path}", do=do)
