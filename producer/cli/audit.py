"""`genqueue audit`: who gave which command, and what it could cost a second time."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from producer.cli.preview import money
from producer.cli.session import client
from producer.cli.tables import AsJson, cell, fitted, show, show_cells
from producer.cli.terminal import Terminal
from shared.db.jobs.bulk import SecondCharge

_LEAST = {"on": 11, "what": 18, "who": 12, "worst cost": 10}
"""The columns that give way to a narrow terminal, and how many cells each keeps."""
_NAMES = ("at", "actor", "door", "act", "terms", "batch", "account", "error_code", "job", "changed")


def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="show at most this many, the newest")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the commands that people gave, newest first: who, what, which jobs, and how many.

    "worst cost" is the most that the command could pay for a second time. The
    list never contains a prompt or a key. What does not fit on a line is
    shortened; --json has all.

    Example: genqueue audit --limit 20
    """
    with client(context) as opened:
        rows = opened.audited(limit)
    if as_json:
        show(map(_plain, rows), (*_NAMES, "worst_cost", "unpriced"), as_json=True)
    else:
        _show([_told(row) for row in rows])


def _show(told: Sequence[Mapping[str, str]]) -> None:
    names = ("at", "who", "what", "changed", *("worst cost",) * any(row["worst cost"] for row in told), "on")
    least = {name: enough for name, enough in _LEAST.items() if name in names}
    show_cells(names, fitted(names, [[row[name] for name in names] for row in told], least, Terminal().width))


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "worst_cost": {unit: cell(amount) for unit, amount in row["worst_cost"].items()}}


def _told(row: Mapping[str, Any]) -> dict[str, str]:
    named = [row["batch"], row["account"], row["error_code"], row["job"]]
    worst = money(SecondCharge(row["worst_cost"], row["unpriced"]))
    return {
        "at": f"{row['at']:%b %d %H:%M}",
        "who": f"{row['actor']} ({row['door']})",
        "what": f"{row['act']} {row['terms']}".strip(),
        "on": " ".join(str(name) for name in named if name is not None),
        "changed": str(row["changed"]),
        "worst cost": "" if worst == "nothing" else worst,
    }
