"""Ids that providers give: one in another case is the same id, because a provider may spell it in two ways.

Ids are stored, shown and sent as they came, but for white space around them; only comparisons use what is here.
"""

from collections.abc import Iterable


def folded(upstream_id: str) -> str:
    """Return the form in which ids are compared."""
    return upstream_id.casefold()


def spellings(upstream_ids: Iterable[str]) -> list[str]:
    """Return each id as it is and in one case throughout: what an index of ids can be asked for."""
    return sorted({one for name in upstream_ids for one in (name, name.lower(), name.upper())})
