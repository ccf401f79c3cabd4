"""`genqueue batches`, `jobs` and `bill`: tables for people, JSON for programs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.cells import cell_len

from producer.cli.policy import show_hints
from producer.cli.session import ExitCode, client, fail
from producer.cli.tables import AsJson, clipped, show, show_cells, show_sentence, words
from producer.cli.terminal import Terminal
from shared.db.payments.drift import BalanceSpan, FigureVerdict
from shared.db.read.pages import OLD_WORDS
from shared.db.read.verifying import Figure
from shared.errors import CODES
from shared.lifecycle import JobState
from shared.wait_facts import PROGRESS, Wait

_FIGURE = (
    "account", "figure", "read", "stated", "booked", "held", "in_air", "unpriced", "difference", "unit", "verdict",
    "less", "more", "adds_up",
)  # fmt: skip
_FIGURE_TABLE = ("account", "figure", "stated", "booked", "unit", "adds up")
_ADDS_UP = {
    FigureVerdict.EXACT: "yes",
    FigureVerdict.EXPLAINED: "within bounds",
    FigureVerdict.OPEN: "open",
    FigureVerdict.MORE: "NO",
    FigureVerdict.LESS: "NO",
}
SHOWN_STATES = (*JobState, "on_hold", "checking")
_BILL = (
    "account", "submissions", "accepted", "settled", "settled_unpriced", "elsewhere", "reserved", "held",
    "held_unpriced", "unit",
)  # fmt: skip
_COUNTS: Final = ("jobs", "queued", "on_hold", "running", "in_doubt", "succeeded", "failed", "cancelled")
_JOB_FACTS: Final = (
    "id", "account", "model", "images", "prompt", "cost", "unit", "error", "due_at", "created_at", "finished_at",
)  # fmt: skip
_JOB_COLUMNS: Final = ("custom_id", "provider", "state", "error_code", "reason", *_JOB_FACTS)
_NOTHING: Final = dict.fromkeys(("account", "model", "images", "prompt", "cost", "unit", "on_hold"))
_LEAST_PROMPT: Final = 20
"""Cells of a prompt that are shown, however narrow the terminal is."""
_RARE: Final = frozenset({"settled_unpriced", "elsewhere", "held_unpriced", "on_hold", "in_doubt", "cancelled"})
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
        names = ("name", *(() if as_json else ("created",)), *_columns(_COUNTS, rows, as_json=as_json))
        show(seen, names, as_json=as_json, also=("created_at", "on_unknown"))
        if not as_json:
            _tell_rest(len(every) - len(rows), "batches")
            show_hints(opened)


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
        others = sum(max([len(name), *(cell_len(row[at]) for row in cells)]) + 2 for at, name in enumerate(names[:-1]))
        room = max(Terminal().width - others, _LEAST_PROMPT)
        cells = [[*row[:-1], clipped(row[-1], room)] for row in cells]
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


def _tell_rest(count: int, what: str) -> None:
    if count > 0:
        show_sentence(f"... and {count:,} older {what}; --limit shows more")


def _wanted(given: Sequence[str]) -> dict[str, str]:
    """Read KEY=VALUE."""
    if wrong := [part for part in given if not part.partition("=")[0] or "=" not in part]:
        fail(f"--where takes KEY=VALUE, not {wrong[0]}", ExitCode.WRONG_INPUT)
    return dict(part.partition("=")[::2] for part in given)


def bill(
    context: typer.Context,
    batch: Annotated[str | None, typer.Argument(help="one batch; default: everything")] = None,
    accept_drift: Annotated[
        str | None,
        typer.Option(metavar="ACCOUNT", help="accept the drift of this account's balance; start a new comparison now"),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="only compare each figure that a provider states with the ledger"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was spent, what is set aside, and what may have been spent (held), by account.

    `elsewhere` was paid to model providers under your own keys there. Two
    columns count calls of unknown cost. The sums include these calls as 0.

    Without a batch, the command also shows each balance that a provider
    reports, beside the balance that the ledger expects. With --verify, exit
    code 3 means that a figure does not add up.

    Example: genqueue bill spring
    """
    with client(context) as opened:
        if accept_drift is not None and not opened.accept_drift(accept_drift):
            fail(f"no balance of an account {accept_drift[:40]!r} has been read yet", ExitCode.WRONG_INPUT)
        if verify:
            raise typer.Exit(_verify(opened.figures(), batch, as_json=as_json))
        rows = opened.bill(batch)
        spans = opened.balance_spans() if batch is None else []
    show(rows, _columns(_BILL, rows, as_json=as_json), as_json=as_json, also=("provider",))
    told = [_balance(span) for span in spans if span.current or span.drift]
    if told:
        if not as_json:
            typer.echo()
        shown = ("account", "since", "expected", "reported", "unit", "verdict")
        show(told, shown, as_json=as_json, also=("read", "spent", "difference", "explained", "drift", "current"))


def _verify(figures: Sequence[Figure], batch: str | None, *, as_json: bool) -> ExitCode:
    """Print each figure with its verdict. Workers read the figures, because producers have no keys."""
    if batch is not None:
        fail("providers state figures for accounts, not for batches: leave out the batch", ExitCode.WRONG_INPUT)
    told = [{**_figure(figure), "adds up": _ADDS_UP[figure.verdict]} for figure in figures]
    show(told, _FIGURE if as_json else _FIGURE_TABLE, as_json=as_json)
    for sentence in () if as_json else _sentences(figures):
        show_sentence(sentence)
    return ExitCode.DONE if all(figure.adds_up for figure in figures) else ExitCode.INCOMPLETE


def _sentences(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence for each figure that differs from the ledger."""
    if not figures:
        yield "no worker has read a figure yet"
    for figure in figures:
        if figure.verdict is FigureVerdict.EXACT:
            continue
        parts = {"held": figure.held, "in the air": figure.in_air}
        also = [f"{words(amount)} {figure.unit} {what}" for what, amount in parts.items() if amount]
        also += [f"{figure.unpriced:,} call(s) of unknown price"] * bool(figure.unpriced)
        yield f"{figure.account}, {figure.figure}: {_figure(figure)['verdict']}" + "".join(f"; {one}" for one in also)


def _figure(figure: Figure) -> dict[str, Any]:
    by = words(abs(figure.difference))
    verdict = {
        FigureVerdict.EXACT: "adds up",
        FigureVerdict.EXPLAINED: "within what is held, in the air, or near an end of the span",
        FigureVerdict.OPEN: "open: it includes calls of unknown price or of another key",
        FigureVerdict.MORE: f"DOES NOT ADD UP: the provider took {by} more than is booked",
        FigureVerdict.LESS: f"DOES NOT ADD UP: the provider took {by} less than is booked",
    }[figure.verdict]
    given = {name: getattr(figure, name) for name in _FIGURE if name not in {"read", "verdict"}}
    return {**given, "read": figure.at.replace(microsecond=0), "verdict": verdict}


def _columns(names: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> list[str]:
    """Return the columns to show; a table omits rare ones that are empty."""
    return [name for name in names if as_json or name not in _RARE or any(row[name] for row in rows)]


def unpriced_words(row: Mapping[str, Any]) -> str:
    """Say how many calls of a bill's line count as 0 because their cost is unknown; "" if none do."""
    counts = {"charged": row["settled_unpriced"], "held": row["held_unpriced"]}
    said = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"the cost of {said} call(s) is unknown" if said else ""


def balance_verdict(span: BalanceSpan) -> str:
    """Describe the result of a span of balance readings."""
    held = "held money" if span.by_held else "calls in the air"
    explained = f"{words(abs(span.explained))} explained by {held}"
    more, less = (f"{words(abs(span.drift))} {word} taken than recorded" for word in ("more", "less"))
    return {
        FigureVerdict.EXACT: "as expected",
        FigureVerdict.EXPLAINED: explained,
        FigureVerdict.OPEN: f"{words(abs(span.difference))} may be calls of uncertain price"
        if span.difference
        else "as expected, except for calls of unknown price: they cost nothing, or hide a difference",
        FigureVerdict.MORE: f"{more}, {explained}" if span.explained else more,
        FigureVerdict.LESS: f"{less}, {explained}" if span.explained else less,
    }[span.verdict]


def _balance(span: BalanceSpan) -> dict[str, Any]:
    return {
        "account": span.account,
        "since": span.base.at.replace(microsecond=0),
        "read": span.last.at.replace(microsecond=0),
        "spent": span.spent,
        "expected": span.expected,
        "reported": span.last.balance,
        "difference": span.difference,
        "explained": span.explained,
        "drift": span.drift,
        "unit": span.unit,
        "verdict": balance_verdict(span),
        "current": span.current,
    }


def unowned(context: typer.Context, as_json: AsJson = False) -> None:
    """List images in the providers' own lists that no job owns: another user's, or those of lost calls.

    Example: genqueue unowned
    """
    with client(context) as opened:
        rows = opened.unowned()
    show(rows, ("upstream_id", "account", "made_at", "note"), as_json=as_json, also=("found_at",))
