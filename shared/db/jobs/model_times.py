"""How long an account's models took lately, from the purchase until a look found the images; kept for every worker."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, text

MOST: Final = 64
"""So many spans of a model are kept, newest first: a provider that changes is known again after as many jobs."""
Span = tuple[float, float]
"""Seconds from the purchase: the last look that found a job open, and the first that found it ready."""

_LOAD = text("SELECT account, model, sooner, later FROM model_time WHERE account = ANY(CAST(:accounts AS text[]))")
_EVERY = text("SELECT account, model, sooner, later FROM model_time")
_LEARN = text(f"""
INSERT INTO model_time AS known (account, model, sooner, later) VALUES (:account, :model, :sooner, :later)
ON CONFLICT (account, model) DO UPDATE SET sooner = (excluded.sooner || known.sooner)[1:{MOST}],
  later = (excluded.later || known.later)[1:{MOST}], learned_at = clock_timestamp()
RETURNING sooner, later
""")


def load(connection: Connection, accounts: Iterable[str]) -> dict[str, dict[str, list[Span]]]:
    """Return the known spans by account and model."""
    found: dict[str, dict[str, list[Span]]] = {}
    for row in connection.execute(_LOAD, {"accounts": list(accounts)}):
        found.setdefault(row.account, {})[row.model] = _spans(row.sooner, row.later)
    return found


def everything(connection: Connection) -> dict[tuple[str, str], list[Span]]:
    """Return the known spans of all accounts."""
    return {(row.account, row.model): _spans(row.sooner, row.later) for row in connection.execute(_EVERY)}


def learn(connection: Connection, account: str, found: Mapping[str, Sequence[Span]]) -> dict[str, list[Span]]:
    """Add the newest spans of an account's models, and return what is known of these models now."""
    known: dict[str, list[Span]] = {}
    for model in sorted(found):  # the same order for all, or two workers deadlock
        sooner, later = map(list, zip(*found[model][:MOST], strict=True))
        spans = {"account": account, "model": model, "sooner": sooner, "later": later}
        known[model] = _spans(*connection.execute(_LEARN, spans).one())
    return known


def _spans(sooner: Sequence[float], later: Sequence[float]) -> list[Span]:
    return list(zip(sooner, later, strict=True))
