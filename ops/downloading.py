"""From the bucket into a directory: a file for each stored image, in place only once its hash is right."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from worker.storage import Storage, StorageDamaged

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS: Final = 80


@dataclass(slots=True)
class Downloaded:
    """How many images were written, were there already, and are not stored."""

    written: int = 0
    kept: int = 0
    missing: int = 0


def download_batch(rows: Iterable[Mapping[str, Any]], storage: Storage, directory: Path) -> Downloaded:
    """Write each stored image of `rows` (as `Client.results` yields them) to `directory`.

    Raises `StorageError` where the bucket fails or an object is not what its row says, and `OSError`.
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
    """Return a name that is safe on any file system and says which image it is."""
    custom_id = _UNSAFE.sub("_", str(row["custom_id"]))[:_NAME_CHARS].strip(".") or "job"
    extension = str(row["key"]).rpartition(".")[2]
    # Two custom_ids may look alike once made safe; the hash tells them apart.
    return f"{custom_id}-{row['index']}-{str(row['sha256'])[:8]}.{extension}"


def _fetch(storage: Storage, row: Mapping[str, Any], path: Path) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        storage.get_to(row["key"], file)
    if _sha256(part) != row["sha256"]:
        part.unlink()
        raise StorageDamaged(f"the object of {row['custom_id']} image {row['index']} is not what its row says")
    part.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
