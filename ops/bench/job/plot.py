"""Draws the costs of a file of runs as SVG: `python -m ops.bench.job.plot RUNS.jsonl > docs/job-cost.svg`."""

import json
import sys
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from statistics import median
from typing import Any, Final

_WIDTH: Final = 720
_ROW: Final = 26
_LEFT: Final = 150
_RIGHT: Final = 90
_PARTS: Final = (
    ("worker_ms", "worker", "#3b6ea5"),
    ("producer_ms", "producer", "#8fb3d9"),
    ("postgres_ms", "PostgreSQL", "#c98b3c"),
)
_HEAD: Final = 34

Run = dict[str, Any]


def drawing(runs: Iterable[Run]) -> str:
    """Return one SVG: for each mode a bar for each rival, in milliseconds of CPU for one job, medians of its runs."""
    bars = _bars(list(runs))
    most = max(sum(values) for _, _, values in bars)
    rows = list(_rows(bars, most))
    height = _HEAD + len(rows) * _ROW + 10
    body = "\n".join(f'<g transform="translate(0 {_HEAD + place * _ROW})">{row}</g>' for place, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13"><title>CPU of one job, in milliseconds</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{_legend()}\n{body}\n</svg>\n'
    )


def _bars(runs: list[Run]) -> list[tuple[str, str, list[float]]]:
    """Return (mode, rival, medians by part) in the order of the runs."""
    found = dict.fromkeys((run["mode"], run["rival"]) for run in runs)
    ordered = sorted(found, key=lambda key: key[0])
    return [(mode, rival, [_median(runs, mode, rival, part) for part, _, _ in _PARTS]) for mode, rival in ordered]


def _median(runs: list[Run], mode: str, rival: str, part: str) -> float:
    return float(median(run[part] for run in runs if (run["mode"], run["rival"]) == (mode, rival)))


def _rows(bars: Iterable[tuple[str, str, list[float]]], most: float) -> Iterator[str]:
    shown = ""
    for mode, rival, values in bars:
        if mode != shown:
            yield f'<text x="10" y="17" font-weight="bold">{escape(mode)}</text>'
            shown = mode
        yield _bar(rival, values, (_WIDTH - _LEFT - _RIGHT) / most)


def _bar(rival: str, values: list[float], scale: float) -> str:
    drawn, at = [f'<text x="{_LEFT - 10}" y="17" text-anchor="end">{escape(rival)}</text>'], float(_LEFT)
    for value, (_, _, colour) in zip(values, _PARTS, strict=True):
        drawn.append(f'<rect x="{at:.1f}" y="3" width="{value * scale:.1f}" height="{_ROW - 7}" fill="{colour}"/>')
        at += value * scale
    return "".join([*drawn, f'<text x="{at + 6:.1f}" y="17">{sum(values):.1f} ms</text>'])


def _legend() -> str:
    drawn = []
    for place, (_, name, colour) in enumerate(_PARTS):
        left = _LEFT + place * 130
        drawn.append(f'<rect x="{left}" y="10" width="14" height="14" fill="{colour}"/>')
        drawn.append(f'<text x="{left + 20}" y="22">{name}</text>')
    return "".join(drawn)


if __name__ == "__main__":
    sys.stdout.write(drawing(json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()))
