"""Ids that providers give: one in another case, or in another form of a UUID, is the same id.

A provider may spell it in two ways: in its answer and in its list, or in two versions of its service.

Ids are stored, shown and sent as they came, but for white space around them; only comparisons use what is here. So is
the mark of a link, which is what stays of it once its image is stored: enough to know it again, and not to fetch it.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

LINK_MARK: Final = "sha256:"
_UUID: Final = re.compile(
    r"(?:urn:uuid:)?\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?"
)


def folded(upstream_id: str) -> str:
    """Return the form in which ids are compared."""
    plain = upstream_id.casefold()
    uuid = _UUID.fullmatch(plain)
    return "-".join(uuid.groups()) if uuid else plain


def spellings(upstream_ids: Iterable[str]) -> list[str]:
    """Return each id as it is and in one case throughout: what an index of ids can be asked for."""
    return sorted({one for name in upstream_ids for one in (name, name.lower(), name.upper())})


def mark_of(link: str) -> str:
    """Return the mark of a link, or the mark itself."""
    return link if link.startswith(LINK_MARK) else LINK_MARK + hashlib.sha256(link.encode()).hexdigest()
