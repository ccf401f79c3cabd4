"""A bucket behind a gate: while it is shut, every object is refused as a real outage would."""

from collections.abc import Mapping
from typing import Any, BinaryIO

from worker.transport.spool import Spool
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageUnavailable


class Gate:
    """Stands where a `Storage` does; `shut` refuses, `refusals` counts."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.shut = True
        self.refusals = 0

    def put(
        self, key: str, spool: Spool, *, content_type: str, metadata: Mapping[str, str], attached: bool = False
    ) -> None:
        if self.shut:
            self.refusals += 1
            raise StorageUnavailable("the gate is shut")
        self._storage.put(key, spool, content_type=content_type, metadata=metadata, attached=attached)

    def __getattr__(self, name: str) -> Any:
        """Leave the rest to the real bucket; while the gate is shut, its short cuts fail."""
        if self.shut and name == "signed_put":
            self.refusals += 1
            raise StorageUnavailable("the gate is shut")
        return getattr(self._storage, name)

    def get_to(self, key: str, file: BinaryIO) -> str:
        if self.shut:
            raise StorageUnavailable("the gate is shut")
        return self._storage.get_to(key, file)
