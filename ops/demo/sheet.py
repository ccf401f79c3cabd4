"""The contact sheet: every picture of a batch on one image and one HTML page."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_COLUMNS: Final = 6
_CELL: Final = 220
_CAPTION: Final = 34
_GAP: Final = 12
_PAPER: Final = "#f5f4f0"
_INK: Final = "#222222"
_RED: Final = "#a33327"
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; background: #f5f4f0; color: #222; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 1rem; align-items: end; }}
figure {{ margin: 0; }} img {{ max-width: 100%; max-height: 260px; display: block; border-radius: 4px; }}
figcaption {{ font-size: 13px; margin-top: .3rem; overflow-wrap: anywhere; }}
.none {{ border: 1px dashed #a33327; border-radius: 4px; padding: 1rem; color: #a33327; }}
small {{ color: #666; }}
</style></head><body><h1>{title}</h1><main>
{cells}
</main></body></html>
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture, or the reason why there is none."""

    caption: str
    detail: str
    file: Path | None
    reason: str = ""


def write_sheet(entries: Sequence[Entry], directory: Path, title: str) -> tuple[Path, Path]:
    """Write `contact-sheet.png` and `index.html` into `directory` and return their paths."""
    picture = directory / "contact-sheet.png"
    _draw(entries).save(picture)
    page = directory / "index.html"
    cells = "\n".join(_figure(entry) for entry in entries)
    page.write_text(_PAGE.format(title=html.escape(title), cells=cells), encoding="utf-8")
    return picture, page


def _draw(entries: Sequence[Entry]) -> Image.Image:
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


def _paste(sheet: Image.Image, draw: ImageDraw.ImageDraw, entry: Entry, left: int, top: int) -> None:
    if entry.file is None:
        draw.rectangle((left, top, left + _CELL, top + _CELL), outline=_RED, width=2)
        draw.text((left + 10, top + _CELL // 2 - 8), entry.reason[:30], fill=_RED, font=ImageFont.load_default(14))
        return
    with Image.open(entry.file) as source:
        source.thumbnail((_CELL, _CELL))
        sheet.paste(source.convert("RGB"), (left, top + _CELL - source.height))


def _figure(entry: Entry) -> str:
    caption = f"<figcaption>{html.escape(entry.caption)}<br><small>{html.escape(entry.detail)}</small></figcaption>"
    if entry.file is None:
        return f'<figure><div class="none">{html.escape(entry.reason)}</div>{caption}</figure>'
    name = html.escape(entry.file.name, quote=True)
    return f'<figure><img src="{name}" alt="{html.escape(entry.caption, quote=True)}" loading="lazy">{caption}</figure>'
