"""SVG: one well-formed XML document whose root is `svg`, within bounds, that declares no entities.

Source: SVG 2, sections 5.1 and 8.2, and XML 1.0. It is never rendered here. What it draws, links to or runs is not
looked at: it may hold scripts, so it is stored as a download and never shown in place.
"""

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from typing import Final
from xml.parsers import expat

from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import IncompleteImage, NotAnImage, Size, Undecidable

_MAX_BYTES: Final = 16 * 2**20  # a parser takes about a second for it
_MAX_DEPTH: Final = 256
_MAX_SIDE: Final = 10**6
_STARTS: Final = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_LENGTH: Final = re.compile(r"\s*\+?([0-9]*\.?[0-9]+)(?:px)?\s*")
_CUT: Final = frozenset(
    {
        expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
    }
)


class _RootSeenError(Exception):
    """Ends a parser once it has seen the name of the root."""


def is_svg(head: bytes) -> bool:
    """Say whether a file that begins with `head` is an XML document whose root is `svg`."""
    if not head.lstrip().startswith(_STARTS):
        return False
    names: list[str] = []

    def root(name: str, _attributes: Mapping[str, str]) -> None:
        names.append(name)
        raise _RootSeenError

    with contextlib.suppress(_RootSeenError, expat.ExpatError, ValueError, LookupError):
        _parser(root, refuse=False).Parse(head, False)  # noqa: FBT003 - expat's own
    return bool(names) and names[0].rpartition(":")[2] == "svg"


def measure(reader: Reader, _max_pixels: int) -> Size | None:
    """Return the size that a complete drawing states, None where it states none.

    Raises `NotAnImage`, `Undecidable` or `IncompleteImage`.
    """
    if reader.size > _MAX_BYTES:
        raise Undecidable(f"an SVG drawing of more than {_MAX_BYTES} bytes")
    stated: list[Size | None] = []
    depth = 0

    def begin(_name: str, attributes: Mapping[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise Undecidable("an SVG drawing that is nested too deeply")
        if not stated:
            stated.append(_size(attributes))

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = _parser(begin)
    parser.EndElementHandler = end
    try:
        for block in reader.blocks(reader.size, "an SVG drawing"):
            parser.Parse(block, False)  # noqa: FBT003 - expat's own
        parser.Parse(b"", True)  # noqa: FBT003 - the same
    except expat.ExpatError as error:
        if error.code in _CUT:
            raise IncompleteImage("an SVG drawing that ends early") from None
        raise NotAnImage("an SVG drawing that is not well-formed XML") from None
    except (ValueError, LookupError):
        raise NotAnImage("an SVG drawing in an unknown encoding") from None
    return stated[0]


def _parser(begin: Callable[[str, Mapping[str, str]], None], *, refuse: bool = True) -> expat.XMLParserType:
    """Return a parser that refuses entities of the document's own and reads nothing from outside it."""
    parser = expat.ParserCreate()

    def declared(*_declaration: object) -> None:
        raise Undecidable("an SVG drawing that declares entities, which may grow without bound")

    parser.StartElementHandler = begin
    if refuse:
        parser.EntityDeclHandler = declared
    return parser


def _size(attributes: Mapping[str, str]) -> Size | None:
    """Return the size of the view box, else the one in pixels that the root states."""
    box = re.split(r"[\s,]+", attributes.get("viewBox", "").strip())[2:]
    sides = box if len(box) == 2 else [attributes.get("width", ""), attributes.get("height", "")]  # noqa: PLR2004
    found = [_LENGTH.fullmatch(side) for side in sides]
    width, height = (math.ceil(float(side[1])) if side else 0 for side in found)
    return Size(width, height) if 0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE else None
