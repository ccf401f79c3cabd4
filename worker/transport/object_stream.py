"""One object of the bucket, read as a stream without a copy on this machine's disk."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from botocore.response import StreamingBody


class ObjectStream:
    """One object, read from its beginning without a copy on this machine; `seek(0)` starts again."""

    def __init__(
        self, begin: "Callable[[], StreamingBody]", explained: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._begin = begin
        self._explained = explained
        self._fresh = True
        with explained():
            self._body = begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, by default all that are left; none at the end.

        Raises `StorageUnavailable` if the body ends early.
        """
        self._fresh = False
        with self._explained():
            return self._body.read(None if size < 0 else size)

    def seek(self, offset: int) -> None:
        """Start again; raises `ValueError` for any other position, and what opening it raises."""
        if offset != 0:
            raise ValueError("an object's stream begins anew, or goes on")
        if not self._fresh:
            self.close()
            with self._explained():
                self._body = self._begin()
            self._fresh = True

    def close(self) -> None:
        """Close the connection."""
        self._body.close()
