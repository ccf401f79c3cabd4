"""The bytes of a prompt file as UTF-8, whatever it was saved in: by its byte order mark, or as a person says."""

import codecs
import io
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from shared.prompt_rows.faults import PromptFileError, shown

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_READ_BYTES: Final = 2**16


def as_utf8(stream: BinaryIO, encoding: str | None, seen: Callable[[bytes], Any]) -> tuple[BinaryIO, bool]:
    """Return the stream as UTF-8, and whether it was recoded; `seen` then gets the bytes as they were.

    `encoding` is a name that Python knows, such as cp1252; None: as the byte order mark says, else UTF-8 as it is.
    Raises `PromptFileError` for an unknown encoding, and while reading for bytes that it does not have.
    """
    buffered: Any = stream if hasattr(stream, "peek") else io.BufferedReader(_Plain(stream))
    found = encoding or _by_mark(buffered.peek(4)[:4])
    if found is None or _codec(found).name == "utf-8":
        return buffered, False
    return io.BufferedReader(_Recoded(buffered, _codec(found), seen), _READ_BYTES), True


def _by_mark(beginning: bytes) -> str | None:
    return next((name for mark, name in _MARKS if beginning.startswith(mark)), None)


def _codec(name: str) -> codecs.CodecInfo:
    try:
        found = codecs.lookup(name)
        "".encode(found.name)  # some codecs are no encodings of text
    except (LookupError, ValueError):
        raise PromptFileError(
            f"no encoding {shown(name)!r}; common ones: utf-8, utf-16, cp1252, latin-1, cp932"
        ) from None
    return found


class _Plain(io.RawIOBase):
    """The bytes of a stream; unlike a buffer around the stream itself, it does not close it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Recoded(io.RawIOBase):
    """The bytes of a stream in another encoding as UTF-8."""

    def __init__(self, stream: BinaryIO, codec: codecs.CodecInfo, seen: Callable[[bytes], Any]) -> None:
        assert codec.incrementaldecoder is not None
        self._stream = stream
        self._name = codec.name
        self._decoder = codec.incrementaldecoder("strict")
        self._seen = seen
        self._left = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._ended:
            data = self._stream.read(_READ_BYTES)
            self._seen(data)
            self._ended = not data
            self._left = self._decoded(data).encode("utf-8", "surrogatepass")
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def _decoded(self, data: bytes) -> str:
        try:
            return self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            bad = error.object[error.start : error.start + 1].hex().upper() or "?"
            raise PromptFileError(
                f"the file is not {self._name}: it contains the byte 0x{bad}, which {self._name} does not allow there"
            ) from None
