"""An answer without its compression: some providers compress unasked, or without saying so.

A whole answer, one that broke off and one that was kept are undone in the same way: what is readable in one must be
readable in each.
"""

import zlib
from contextlib import suppress
from typing import Final

from worker.transport.inflater import Inflater

_DEFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})
_MOST_LAYERS: Final = 2
_FRAMED: Final = (b"\x1f\x8b", b"\x78")  # gzip and zlib begin so; JSON never does
_PARTS: Final = 4096


def undone(body: bytes, coding: str, *, max_bytes: int) -> bytes:
    """Return a body decompressed, up to `max_bytes`; `coding` is its header, empty where that is not known.

    One that breaks off or is damaged inside gives what comes before that.
    """
    for layer in reversed(_layers(coding)):
        body = _inflated(body, layer, max_bytes)
    return _inflated(body, "", max_bytes)


def _layers(header: str) -> list[str]:
    """Return the layers of compression that a header names, the outermost last; more than two are none."""
    named = [one.strip().lower() for one in header.split(",")]
    return [one for one in named if one in _DEFLATED][:_MOST_LAYERS]


def _inflated(body: bytes, layer: str, max_bytes: int) -> bytes:
    """Return a body without one layer of compression; as it is where it has none, whatever a header says."""
    found = b""
    if layer or body.startswith(_FRAMED):
        found = before_damage(Inflater(), body, max_bytes)
    if not found and layer == "deflate" and not body.lstrip().startswith((b"{", b"[")):
        with suppress(zlib.error):  # some servers leave out the frame
            found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, max_bytes)
    return found or body


def before_damage(reader: Inflater, body: bytes, max_bytes: int) -> bytes:
    """Return what `reader` makes of `body`, up to an error in it; empty for nothing.

    A wrong checksum is an error too, and it stands behind everything.
    """
    found = bytearray()
    at, step = 0, len(body)
    while at < len(body) and len(found) < max_bytes:
        before = reader.copy()
        try:
            found += reader.decompress(body[at : at + step], max_bytes - len(found))
        except zlib.error:
            if step == 1:
                break
            reader, step = before, max(1, step // _PARTS)
        else:
            at += step
    return bytes(found)
