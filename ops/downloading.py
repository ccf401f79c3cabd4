"""Copies stored images from the bucket into a directory. A file gets its name only after its hash is verified."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageDamaged

_UNSAFE: Final = re.compile(r"[^\w.-]+")
_NAME_BYTES: Final = 160
"""Of a file's name, which may have 255 bytes with the rest of it."""


@dataclass(slots=True)
class Downloaded:
    """How many images were written, were already there, and are not stored."""

    written: int = 0
    kept: int = 0
    missing: int = 0


def download_batch(rows: Iterable[Mapping[str, Any]], storage: Storage, directory: Path) -> Downloaded:
    """Write each stored image of `rows` (as `Client.results` yields them) to `directory`.

    Raises `StorageError` if the bucket fails or an object differs from its row, and `OSError`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    done = Downloaded()
    for row in rows:
        if not row["key"]:
            done.missing += 1
            continue
        path = directory / file_name(row)
        if path.is_file() and _sha256(path) == row["sha256"]:
            done.kept += 1
            continue
        _fetch(storage, row, path)
        done.written += 1
    return done


def file_name(row: Mapping[str, Any]) -> str:
    """Return a name that is safe on any file system and identifies the image."""
    custom_id = str(row["custom_id"])
    safe = _UNSAFE.sub("_", custom_id).encode()[:_NAME_BYTES].decode(errors="ignore").strip(".") or "job"
    if safe != custom_id:
        # Two custom_ids may become equal when made safe, and may have equal images.
        safe += f"~{hashlib.sha256(custom_id.encode()).hexdigest()[:6]}"
    extension = str(row["key"]).rpartition(".")[2]
    return f"{safe}-{row['index']}-{str(row['sha256'])[:8]}.{extension}"


def _fetch(storage: Storage, row: Mapping[str, Any], path: Path) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        storage.get_to(row["key"], file)
    if _sha256(part) != row["sha256"]:
        part.unlink()
        raise StorageDamaged(f"the object of {row['custom_id']} image {row['index'] + 1} differs from its row")
    part.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
