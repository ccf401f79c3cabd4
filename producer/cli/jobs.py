"""`genqueue jobs`: the jobs of a batch, each with its cost and prompt, and why it has no images yet."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from producer.cli.session import ExitCode, client, fail
from producer.cli.tables import AsJson, fitted, show, show_cells, show_sentence, words
from producer.cli.terminal import Terminal
from shared.db.read.pages import OLD_WORDS
from shared.errors import CODES
from shared.lifecycle import JobState
from shared.wait_facts import PROGRESS, Wait

SHOWN_STATES = (*JobState, "on_hold", "checking")
_JOB_FACTS: Final = (
    "id", "account", "model", "images", "prompt", "cost", "unit", "error", "due_at", "created_at", "finished_at",
)  # fmt: skip
_JOB_COLUMNS: Final = ("custom_id", "provider", "state", "error_code", "reason", *_JOB_FACTS)
_NOTHING: Final = dict.fromkeys(("account", "model", "images", "prompt", "cost", "unit", "on_hold"))
_LEAST_PROMPT: Final = 20
"""Cells of a prompt that are shown, however narrow the terminal is."""


def jobs(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    state: Annotated[str | None, typer.Option(help="only jobs in this state; on_hold and checking work too")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="only jobs whose metadata says so; repeatable")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="show at most this many")] = 100,
    columns: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help=f"show these instead: {', '.join(_JOB_COLUMNS)}")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a batch in the order they were enqueued, each with its cost and prompt.

    Below a job that failed, is held or waits stands the reason. genqueue explain
    has the whole story.

    Example: genqueue jobs spring --state failed
    """
    if state is not None and OLD_WORDS.get(state, state) not in SHOWN_STATES:
        fail(f"--state must be one of {', '.join(SHOWN_STATES)}", ExitCode.WRONG_INPUT)
    chosen = _chosen(columns)
    with client(context) as opened:
        found = opened.jobs(batch, state=state, where=_wanted(where or ()), limit=limit + 1)
        rows = found[:limit]
        ids = [row["id"] for row in rows]
        details = opened.details(ids)
        waits = {} if as_json else opened.why_each(ids)
    rows = [{**row, **details.get(row["id"], _NOTHING)} for row in rows]
    if as_json:
        kept = ("metadata",) * bool(where)
        show(rows, ("custom_id", "provider", "state", "error_code"), as_json=True, also=(*_JOB_FACTS, *kept))
        return
    reasons = [_reason(row, waits.get(row["id"])) for row in rows]
    several = len({row["provider"] for row in rows}) > 1
    names = chosen or ("custom_id", *("provider",) * several, "state", "cost", "prompt")
    _show_jobs(names, rows, reasons)
    if len(found) > limit:
        show_sentence(f"... and more; --limit {limit * 10} shows them")


def _chosen(columns: str | None) -> tuple[str, ...]:
    names = tuple(filter(None, re.split(r"[,\s]+", columns or "")))
    if wrong := [name for name in names if name not in _JOB_COLUMNS]:
        fail(f"--columns has no {wrong[0]}; there are {', '.join(_JOB_COLUMNS)}", ExitCode.WRONG_INPUT)
    return names


def _show_jobs(names: Sequence[str], rows: Sequence[Mapping[str, Any]], reasons: Sequence[str]) -> None:
    """Show jobs; a prompt gets what the other columns leave, and a reason stands below unless it has a column."""
    shown = [
        {**row, "reason": reason, "cost": _cost(row), "state": _shown_state(row)}
        for row, reason in zip(rows, reasons, strict=True)
    ]
    cells = [[words(row[name]) for name in names] for row in shown]
    if names[-1] == "prompt":
        cells = fitted(names, cells, {"prompt": _LEAST_PROMPT}, Terminal().width)
    show_cells(names, cells, notes=() if "reason" in names else reasons)


def _shown_state(row: Mapping[str, Any]) -> str:
    """Return the state as people know it: held jobs are told apart from those that go on."""
    if row["state"] == JobState.IN_DOUBT:
        return "in_doubt" if row["on_hold"] else "checking"
    return "on_hold" if row["on_hold"] else str(row["state"])


def _cost(row: Mapping[str, Any]) -> str:
    return f"{words(row['cost'])} {row['unit']}" if row["cost"] is not None and row["unit"] != "unbilled" else ""


def _reason(row: Mapping[str, Any], wait: Wait | None) -> str:
    """Say why a job has no images (yet)."""
    if row["state"] == JobState.SUCCEEDED:
        return ""
    if wait is not None:
        return "" if wait.reason in PROGRESS else str(wait)
    code = CODES.get(row["error_code"] or "")
    return f"{row['error_code']}: {code.meaning}" if code else row["error_code"] or ""


def _wanted(given: Sequence[str]) -> dict[str, str]:
    """Read KEY=VALUE."""
    if wrong := [part for part in given if not part.partition("=")[0] or "=" not in part]:
        fail(f"--where takes KEY=VALUE, not {wrong[0]}", ExitCode.WRONG_INPUT)
    return dict(part.partition("=")[::2] for part in given)
