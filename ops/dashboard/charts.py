"""Charts as SVG, drawn on the server. Colours come from classes of the style sheet; numbers stand in a table beside."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from markupsafe import Markup, escape

_WIDTH: Final = 720
_HEIGHT: Final = 160
_LEFT: Final = 8
_FOOT: Final = 24
_LETTER: Final = 12
"""The width of a letter on a phone, where a chart is half as wide and its labels are twice as large."""
_WIDEST: Final = 60
_GAP: Final = 0.25


class Segment(NamedTuple):
    """A part of a bar: its share of the whole, its class, and what a pointer shows."""

    part: float
    kind: str
    title: str


def bar(segments: Sequence[Segment]) -> Markup:
    """Return one horizontal bar; the parts need not fill it."""
    parts, at = [], 0.0
    for segment in segments:
        width = min(max(segment.part, 0.0), 1.0) * 100
        parts.append(
            Markup('<rect x="{:.3f}" y="0" width="{:.3f}" height="10" class="fill-{}"><title>{}</title></rect>').format(
                at, width, segment.kind, segment.title
            )
        )
        at += width
    label = ", ".join(segment.title for segment in segments) or "nothing yet"
    return (
        Markup('<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">').format(
            label
        )
        + Markup("").join(parts)
        + Markup("</svg>")
    )


class Column(NamedTuple):
    """One column of a chart: its label below, and its amounts by class, drawn from the ground up."""

    label: str
    amounts: Mapping[str, float | Decimal]


def columns(columns: Sequence[Column], title: str) -> Markup:
    """Return a chart of stacked columns; empty without any amount."""
    highest = max((float(sum(map(float, column.amounts.values()))) for column in columns), default=0.0)
    if not highest:
        return Markup("")
    room = min((_WIDTH - 2 * _LEFT) / len(columns), _WIDEST)
    every = max(math.ceil(_LETTER * len(column.label) / room) for column in columns)
    last = len(columns) - 1
    drawn = Markup("").join(
        _column(column, _LEFT + index * room, room, highest, is_labelled=(last - index) % every == 0)
        for index, column in enumerate(columns)
    )
    return (
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, title)
        + drawn
        + Markup("</svg>")
    )


def _column(column: Column, x: float, room: float, highest: float, *, is_labelled: bool) -> Markup:
    parts, y = Markup(""), float(_HEIGHT - _FOOT)
    for kind, amount in column.amounts.items():
        if not amount:
            continue
        height = float(amount) / highest * (_HEIGHT - _FOOT - 4)
        y -= height
        parts += Markup(
            '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="fill-{}"><title>{}</title></rect>'
        ).format(x + room * _GAP / 2, y, room * (1 - _GAP), height, kind, f"{column.label}: {amount} {kind}")
    if not is_labelled:
        return parts
    label = escape(column.label)
    return parts + Markup('<text x="{:.1f}" y="{}" class="label">{}</text>').format(x + room / 2, _HEIGHT - 6, label)
