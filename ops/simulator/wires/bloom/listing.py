"""The questions of ``GET /images``: filters, ids, cursor, wait, limited as Bloom's OpenAPI document says."""

import base64
import binascii
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from ops.simulator.wires.bloom.errors import BloomErrors
from ops.simulator.wires.bloom.images import BloomImage
from ops.simulator.wires.bloom.submission import is_uuid

MOST_IDS = 50
_TRUTH = {"1": True, "true": True, "": True, "0": False, "false": False}
_ENUMS = {
    "source": ("generated", "uploaded", "scraped"),
    "status": ("pending", "generating", "completed", "failed"),
    "actionType": ("generation", "edit", "resize", "variant", "recreate", "remove-background", "vectorize"),
}


@dataclass(frozen=True, slots=True)
class Patience:
    """Whether to hold the connection, and for how many simulated seconds at most."""

    wait: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Listing:
    """A valid list request; ``ids`` is ``None`` without that filter, ``after`` the place of the last row shown."""

    ids: frozenset[str] | None
    brand: str | None
    workspace: str | None
    filters: dict[str, str]
    limit: int
    after: int | None
    signed_urls: bool

    def wants(self, image: BloomImage, now: float) -> bool:
        """Say whether ``image`` belongs into the answer; every image here is a generated one of no workspace.

        ``ids`` is not looked at: who asks by id starts from those images.
        """
        action = "variant" if image.group else "generation"
        facts = {"source": "generated", "status": image.status_at(now), "actionType": action}
        return (
            self.brand in {None, image.brand}
            and self.workspace is None
            and all(facts[name] == value for name, value in self.filters.items())
        )


def parse_patience(query: QueryParams, errors: BloomErrors) -> Patience:
    """Read ``wait`` and ``timeout`` (1 to 295 seconds). Raises ``RefusalError`` with a 400."""
    return Patience(_flag(query, "wait", errors), _number(query, "timeout", 120, 295, errors))


def parse_listing(query: QueryParams, errors: BloomErrors) -> Listing:
    """Read the filters. Raises ``RefusalError`` with a 400 naming the parameter."""
    brand = query.get("brandSessionId")
    if brand is not None and not is_uuid(brand):
        raise errors.invalid("brandSessionId", "must be a UUID")
    filters = {name: query[name] for name in _ENUMS if name in query}
    for name, value in filters.items():
        if value not in _ENUMS[name]:
            raise errors.invalid(name, f"must be one of {', '.join(_ENUMS[name])}")
    return Listing(
        ids=parse_ids(query, errors) if query.get("ids") else None,
        brand=brand.lower() if brand else None,
        workspace=query.get("workspaceId"),
        filters=filters,
        limit=_number(query, "limit", 50, 100, errors),
        after=_cursor(query, errors),
        signed_urls=_flag(query, "includeUrls", errors),
    )


def parse_ids(query: QueryParams, errors: BloomErrors) -> frozenset[str]:
    """Read ``ids``, 1 to 50 of them. Raises ``RefusalError`` with a 400."""
    ids = [item.strip().lower() for item in query.get("ids", "").split(",")]
    if len(ids) > MOST_IDS or not all(is_uuid(item) for item in ids):
        raise errors.invalid("ids", f"must be 1 to {MOST_IDS} UUIDs with commas between them")
    return frozenset(ids)


def cursor_after(place: int) -> str:
    """Return the opaque cursor of the page after the row at ``place``."""
    return base64.urlsafe_b64encode(f"after:{place}".encode()).decode()


def _cursor(query: QueryParams, errors: BloomErrors) -> int | None:
    if not query.get("cursor"):
        return None
    try:
        return int(base64.urlsafe_b64decode(query["cursor"]).decode().removeprefix("after:"))
    except (ValueError, binascii.Error):
        raise errors.invalid("cursor", "is not one that this server gave out") from None


def _flag(query: QueryParams, name: str, errors: BloomErrors) -> bool:
    value = query.get(name, "false").lower()
    if value not in _TRUTH:
        raise errors.invalid(name, "must be true or false")
    return _TRUTH[value]


def _number(query: QueryParams, name: str, default: int, most: int, errors: BloomErrors) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise errors.invalid(name, f"must be an integer from 1 to {most}")
    return int(text)
