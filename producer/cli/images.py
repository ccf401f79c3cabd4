"""`genqueue images BATCH`: each image of a batch, with its size, its cost and where it lies."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any, Final

import typer

from producer.cli.session import client
from producer.cli.tables import AsJson, show, show_cells, show_sentence, words
from shared.errors import CODES

_FACTS: Final = ("custom_id", "index", "s3_uri", "sha256", "bytes", "content_type", "width", "height", "cost")
_MORE: Final = ("job_id", "provider", "model", "currency", "metadata")


def images(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="show at most this many")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the stored images of a batch, with the place of each in the bucket.

    genqueue results also lists the images that are missing, and says why.

    Example: genqueue images spring --limit 20
    """
    with client(context) as opened:
        stored = (row for row in opened.results(batch) if row["key"])
        rows = list(islice(stored, limit + 1))
    if as_json:
        show(rows[:limit], _FACTS, as_json=True, also=_MORE)
        return
    show_images(rows[:limit], places=True)
    if len(rows) > limit:
        show_sentence(f"... and more; --limit {limit * 10} shows them")


def show_images(rows: Iterable[Mapping[str, Any]], *, places: bool = False) -> None:
    """Print a table of images; below each stands why there is none, or with `places` where it lies."""
    seen = list(rows)
    notes = [(row["s3_uri"] if row["key"] else _reason(row)) if places or not row["key"] else "" for row in seen]
    show_cells(("custom_id", "image", "state", "pixels", "size", "cost"), map(_cells, seen), notes=notes)


def _cells(row: Mapping[str, Any]) -> list[str]:
    pixels = f"{row['width']}x{row['height']}" if row["width"] else ""
    size = f"{row['bytes'] / 1000:,.0f} kB" if row["bytes"] else ""
    is_billed = row["cost"] is not None and row["currency"] != "unbilled"
    cost = f"{words(row['cost'])} {row['currency']}" if is_billed else ""
    return [row["custom_id"], str(row["index"] + 1), str(row["state"]), pixels, size, cost]


def _reason(row: Mapping[str, Any]) -> str:
    code = CODES.get(row["error_code"] or "")
    return f"{row['error_code']}: {code.meaning}" if code else row["error_code"] or ""
