"""The columns (or keys) a prompt file may have, and what to suggest for one it may not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Final

from shared import catalog
from shared.catalog import Parameter
from shared.prompt_rows.faults import shown
from shared.prompt_rows.ways import Ways
from shared.requests import GenerationRequest

OPTION_PREFIX: Final = "options."
KNOWN: Final = frozenset({*GenerationRequest.model_fields, "custom_id", "provider", "priority", "metadata"})
_NAMED: Final = 10  # unknown names shown for one row; a hostile row can hold a hundred thousand
_ORDER: Final = (
    "prompt, custom_id, provider, model, aspect_ratio, size, n, seed, output_format, references, priority, "
    "options.NAME, metadata, meta.NAME"
)
_UNKNOWN: Final = "is not a known column"
_RENAMED: Final = KNOWN - {"metadata"}
"""Our columns that may stand in a file under another name, besides `options.NAME`."""


class ColumnNameError(ValueError):
    """A pair of column names that means nothing; the message says why."""


def unknown_faults(unknown: Sequence[str], ways: Ways) -> Iterator[tuple[str, str]]:
    """Yield (name, message) for each name that is near one of ours, at most ten, and one for all others together."""
    if not unknown:
        return
    remedy = ways.columns + _taken(ways, "OURS", "THEIRS")
    near = {name: advice for name in unknown[:_NAMED] if (advice := _advice(name[:80], ways)) != _UNKNOWN}
    yield from ((name or "(no name)", advice) for name, advice in near.items())
    others = [name for name in unknown if name not in near]
    if len(others) == 1:
        yield others[0], f"is not a known column; {remedy}; known: {_ORDER}"
    elif others:
        named = ", ".join(shown(name) for name in others[:_NAMED])
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        yield "columns", f"{named}{more} are not known columns; {remedy}; known: {_ORDER}"


def is_option(name: str) -> bool:
    """Say whether a column is `options.NAME`."""
    return name.startswith(OPTION_PREFIX) and name != OPTION_PREFIX


@cache
def text_options() -> frozenset[str]:
    """Return the columns `options.NAME` that hold text at every provider that has them: 512 stays the text 512."""
    types: dict[str, set[str]] = {}
    for parameter in _parameters():
        types.setdefault(parameter.field, set()).add(parameter.type)
    return frozenset(field for field, found in types.items() if is_option(field) and found <= {"text", "uuid"})


def _parameters() -> Iterator[Parameter]:
    for provider in map(catalog.get, catalog.names()):
        for parameter in provider.parameters:
            yield from parameter.flat()


def is_column(name: str) -> bool:
    """Say whether a column is one of ours."""
    return name in KNOWN or is_option(name)


@lru_cache(maxsize=256)
def _advice(name: str, ways: Ways) -> str:
    if not name:
        return "a column has no name"
    by_wire: dict[str, list[str]] = {}
    for parameter in _parameters():
        fields = by_wire.setdefault(parameter.wire, [])
        if parameter.field not in fields:
            fields.append(parameter.field)
    options = [field for fields in by_wire.values() for field in fields if is_option(field)]
    near = by_wire.get(name) or get_close_matches(name.lower(), [*sorted(KNOWN), *options], n=1)
    if not near:
        return _UNKNOWN
    return f"{_UNKNOWN}; did you mean {' or '.join(near)}? {ways.columns}{_taken(ways, near[0], name)}"


def _taken(ways: Ways, ours: str, theirs: str) -> str:
    """Return the remedy that takes a column for ours; none for a name that would end a shell's quotes."""
    return f"; {ways.column.format(ours=ours, column=shown(theirs))}" if ways.column and "'" not in theirs else ""


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, as safe to print."""
    return [shown(name) for name, times in Counter(names).items() if times > 1]


def parse_columns(pairs: Iterable[str]) -> dict[str, str]:
    """Return our column -> theirs for pairs `OURS=THEIRS`; raises `ColumnNameError`."""
    found: dict[str, str] = {}
    for pair in pairs:
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        if not (ours and equals and theirs):
            raise ColumnNameError(f"{shown(pair)!r} is not OURS=THEIRS, such as aspect_ratio=Bildformat")
        if ours not in _RENAMED and not is_option(ours):
            raise ColumnNameError(
                f"no column of ours is called {shown(ours)!r}; known: {', '.join(sorted(_RENAMED))}, options.NAME"
            )
        if ours in found or theirs in found.values():
            raise ColumnNameError(f"{shown(pair)!r} names a column that another pair names too")
        found[ours] = theirs
    return found
