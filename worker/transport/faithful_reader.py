"""Complete bytes as a library reads them: a disk's fault stays the disk's."""

import io
from typing import BinaryIO, Final, cast

from worker.transport.digested import Stored
from worker.transport.spool import SpoolError

_CUT: Final = "bytes that were kept in the spool directory are gone: a file there was cut"


class FaithfulReader:
    """Reads bytes back; raises `SpoolError` where they cannot be read, or end before their length.

    `fault` is that error: a library turns it into one of the network, or waits for the rest of a body.
    """

    def __init__(self, stored: Stored) -> None:
        self._length = stored.length
        self.fault: SpoolError | None = None
        try:
            self._file = stored.rewound()
        except OSError as error:
            raise self._failed(error) from error

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, by default all that are left; none at the end."""
        try:
            found = self._file.read(size)
            is_cut = not found and size != 0 and self._file.tell() < self._length
        except OSError as error:
            raise self._failed(error) from error
        if is_cut:
            self.fault = SpoolError(_CUT)
            raise self.fault
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            raise self._failed(error) from error

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    @property
    def file(self) -> BinaryIO:
        """This, for those who ask for a file."""
        return cast("BinaryIO", self)

    def _failed(self, error: OSError) -> SpoolError:
        self.fault = SpoolError(f"the spool directory cannot be read ({error.strerror or type(error).__name__})")
        return self.fault
