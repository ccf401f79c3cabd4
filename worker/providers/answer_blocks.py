"""A kept answer, block by block, with its compression and UTF-16 undone: some providers send these unasked."""

import codecs
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO, Final

from worker.transport.inflater import Inflater
from worker.transport.undone import before_damage

READ_BYTES: Final = 1024 * 1024
_INFLATED_BYTES: Final = 512 * 1024 * 1024
_COMPRESSED: Final = (b"\x1f", b"\x78")  # gzip and zlib begin so; JSON never does
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the answer from its beginning, in blocks of about a megabyte."""
    file.seek(0)
    blocks = iter(partial(file.read, READ_BYTES), b"")
    first = next(blocks, b"")
    blocks = chain([first], blocks)
    if first[:1] in _COMPRESSED and _inflates(first):
        blocks = filter(None, _inflated(blocks))
        first = next(blocks, b"")
        blocks = chain([first], blocks)
    yield from _recoded(blocks) if first[:2] in _UTF16 else blocks


def _inflates(first: bytes) -> bool:
    try:
        Inflater().decompress(first, 1)
    except zlib.error:
        return False
    return True


def _inflated(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Inflate up to a bound; where it is damaged or ends, what came before counts."""
    inflate, left = Inflater(), _INFLATED_BYTES
    before, fresh = inflate, b""
    try:
        for block in blocks:
            fresh = block
            while fresh and not inflate.eof and left > 0:
                before = inflate.copy()
                plain = inflate.decompress(fresh, min(READ_BYTES, left))
                left -= len(plain)
                fresh = inflate.unconsumed_tail
                yield plain
        yield inflate.flush()  # a few bytes that the last bound held back
    except zlib.error:
        yield before_damage(before, fresh, min(READ_BYTES, left))


def _recoded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
    return filter(None, (decoder.decode(block).encode() for block in blocks))
