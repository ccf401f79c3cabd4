"""The contact sheet: all images of a batch in one image."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_COLUMNS: Final = 6
_REASON_CHARS: Final = 24  # of a line that fits its box
_CELL: Final = 220
_CAPTION: Final = 34
_GAP: Final = 12
_PAPER: Final = "#f5f4f0"
_INK: Final = "#222222"
_RED: Final = "#a33327"


@dataclass(frozen=True, slots=True)
class SheetEntry:
    """One image, or the reason why there is none."""

    caption: str
    detail: str
    file: Path | None
    reason: str = ""


def write_sheet(entries: Sequence[SheetEntry], directory: Path) -> Path:
    """Write `contact-sheet.png` into `directory` and return its path."""
    picture = directory / "contact-sheet.png"
    _draw(entries).save(picture)
    return picture


def _draw(entries: Sequence[SheetEntry]) -> Image.Image:
    rows = -(-len(entries) // _COLUMNS)
    width = _COLUMNS * (_CELL + _GAP) + _GAP
    height = rows * (_CELL + _CAPTION + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for number, entry in enumerate(entries):
        left = _GAP + (number % _COLUMNS) * (_CELL + _GAP)
        top = _GAP + (number // _COLUMNS) * (_CELL + _CAPTION + _GAP)
        _paste(sheet, draw, entry, left, top)
        draw.text((left, top + _CELL + 3), entry.caption[:30], fill=_INK, font=font)
        draw.text((left, top + _CELL + 18), entry.detail[:34], fill="#666666", font=font)
    return sheet


def _paste(sheet: Image.Image, draw: ImageDraw.ImageDraw, entry: SheetEntry, left: int, top: int) -> None:
    if entry.file is None:
        draw.rectangle((left, top, left + _CELL, top + _CELL), outline=_RED, width=2)
        reason = textwrap.fill(entry.reason.replace("_", " "), _REASON_CHARS)
        draw.text((left + 10, top + _CELL // 2 - 8), reason, fill=_RED, font=ImageFont.load_default(14))
        return
    with Image.open(entry.file) as source:
        source.thumbnail((_CELL, _CELL))
        sheet.paste(source.convert("RGB"), (left, top + _CELL - source.height))
