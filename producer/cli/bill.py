"""`genqueue bill`: what was spent, what is set aside, and whether it adds up with the figures that providers state."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from producer.cli.session import ExitCode, client, fail
from producer.cli.tables import AsJson, show, show_cells, show_sentence, without_empty, words
from shared.db.payments.drift import BalanceSpan, FigureVerdict
from shared.db.read.verifying import Figure
from shared.notes import counted

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
_BILL = (
    "account", "submissions", "accepted", "settled", "settled_unpriced", "elsewhere", "reserved", "held",
    "held_unpriced", "unit",
)  # fmt: skip
_RARE: Final = frozenset({"settled_unpriced", "elsewhere", "held_unpriced"})
"""Columns that a table omits while they are empty."""


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
    show(rows, _BILL if as_json else without_empty(_BILL, rows, _RARE), as_json=as_json, also=("provider",))
    told = [_balance(span) for span in spans if span.current or span.drift]
    if told and as_json:
        shown = ("account", "since", "expected", "reported", "unit", "verdict")
        show(told, shown, as_json=True, also=("read", "spent", "difference", "explained", "drift", "current"))
    elif told:
        typer.echo()
        show_cells(("account", "since", "expected", "reported (UTC)", "unit", "verdict"), map(_balance_cells, told))


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
        also += [f"{counted(figure.unpriced, 'call')} of unknown price"] * bool(figure.unpriced)
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


def unpriced_words(row: Mapping[str, Any]) -> str:
    """Say how many calls of a bill's line count as 0 because their cost is unknown; "" if none do."""
    counts = {"charged": row["settled_unpriced"], "held": row["held_unpriced"]}
    said = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"the cost of {said} {'call' if sum(counts.values()) == 1 else 'calls'} is unknown" if said else ""


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


def _balance_cells(row: Mapping[str, Any]) -> list[str]:
    at = row["read"]
    read = f"{at:%H:%M}" if at.date() == datetime.now(UTC).date() else f"{at:%b %d %H:%M}"
    reported = f"{words(row['reported'])}, read {read}"
    since, expected = f"{row['since']:%b %d %H:%M}", words(row["expected"])
    return [row["account"], since, expected, reported, row["unit"], row["verdict"]]
