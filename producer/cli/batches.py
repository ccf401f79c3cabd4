"""`genqueue batches`: the batches with their jobs counted by state."""

from typing import Annotated, Final

import typer

from producer.cli.policy import show_hints
from producer.cli.session import client
from producer.cli.tables import AsJson, show, show_sentence, without_empty
from shared.notes import counted

_COUNTS: Final = ("jobs", "queued", "on_hold", "running", "in_doubt", "succeeded", "failed", "cancelled")
_RARE: Final = frozenset({"on_hold", "in_doubt", "cancelled"})
"""Columns that a table omits while they are empty."""


def batches(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="show at most this many")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the batches, newest first, with their jobs counted by state.

    Example: genqueue batches --limit 5
    """
    with client(context) as opened:
        every = opened.batches()
        rows = every[: -limit - 1 : -1]
        seen = [{**row, "created": f"{row['created_at']:%b %d %H:%M}"} for row in rows]
        names = ("name", *_COUNTS) if as_json else ("name", "created", *without_empty(_COUNTS, rows, _RARE))
        show(seen, names, as_json=as_json, also=("created_at", "on_unknown"))
        if not as_json:
            if len(every) > len(rows):
                show_sentence(
                    f"... and {counted(len(every) - len(rows), 'older batch', 'older batches')}; --limit shows more"
                )
            show_hints(opened)
