"""The columns (or keys) a prompt file may have, and what to suggest for one it may not."""

from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache, lru_cache
from itertools import islice
from typing import Final

from producer.prompts.faults import shown
from shared import catalog
from shared.catalog import Parameter
from shared.requests import GenerationRequest

OPTION_PREFIX: Final = "options."
KNOWN: Final = frozenset({*GenerationRequest.model_fields, "custom_id", "provider", "priority"})
_NAMED: Final = 10  # unknown names reported for one row; a hostile row can hold a hundred thousand
_ORDER: Final = (
    "prompt, custom_id, provider, model, aspect_ratio, size, n, seed, output_format, references, priority, options.NAME"
)
_UNKNOWN: Final = f"is not a known column; known: {_ORDER}"


def unknown_faults(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, message) for each name that is no column, at most ten and a count of the rest."""
    unknown = (name for name in names if not _is_column(name))
    for name in islice(unknown, _NAMED):
        yield (name or "(no name)"), _advice(name[:80])
    if rest := sum(1 for _ in unknown):
        yield "row", f"has {rest} more unknown columns"


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


def _is_column(name: str) -> bool:
    return name in KNOWN or is_option(name)


@lru_cache(maxsize=256)
def _advice(name: str) -> str:
    if not name:
        return "a column has no name"
    if ";" in name or "\t" in name:
        return "is not a known column; separate the columns with commas"
    by_wire: dict[str, list[str]] = {}
    for parameter in _parameters():
        fields = by_wire.setdefault(parameter.wire, [])
        if parameter.field not in fields:
            fields.append(parameter.field)
    options = [field for fields in by_wire.values() for field in fields if is_option(field)]
    near = by_wire.get(name) or get_close_matches(name.lower(), [*sorted(KNOWN), *options], n=1)
    return f"is not a known column; did you mean {' or '.join(near)}?" if near else _UNKNOWN


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, as safe to print."""
    return [shown(name) for name, times in Counter(names).items() if times > 1]
