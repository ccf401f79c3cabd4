"""`genqueue audit`: who gave which command, and what it could cost a second time."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from producer.cli.preview import money
from producer.cli.session import client
from producer.cli.tables import AsJson, cell, show
from shared.db.jobs.bulk import SecondCharge

_NAMES = ("at", "actor", "door", "act", "terms", "batch", "account", "error_code", "job", "changed")


def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="show at most this many, the newest")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the commands that people gave, newest first: who, what, which jobs, and how many.

    "worst cost" is the most that the command could pay for a second time. The
    list never contains a prompt or a key.

    Example: genqueue audit --limit 20
    """
    with client(context) as opened:
        rows = opened.audited(limit)
    if as_json:
        show(map(_plain, rows), (*_NAMES, "worst_cost", "unpriced"), as_json=True)
    else:
        show(map(_told, rows), ("at", "who", "what", "on", "changed", "worst_cost"), as_json=False)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "worst_cost": {unit: cell(amount) for unit, amount in row["worst_cost"].items()}}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    named = [row["batch"], row["account"], row["error_code"], row["job"]]
    worst = money(SecondCharge(row["worst_cost"], row["unpriced"]))
    return {
        "at": row["at"],
        "who": f"{row['actor']} ({row['door']})",
        "what": f"{row['act']} {row['terms']}".strip(),
        "on": " ".join(str(name) for name in named if name is not None),
        "changed": row["changed"],
        "worst_cost": "" if worst == "nothing" else worst,
    }
