"""JSON answers that are right but for one thing: a mark before them, an extra field, another id."""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from ops.simulator.draws import digest
from ops.simulator.faults import StagedFault
from ops.simulator.replies import SimulatedReply

_BOM = b"\xef\xbb\xbf"
_FIELD = b'"x_extra":'
_EXTRAS: dict[str, Callable[[StagedFault], bytes]] = {
    "nan": lambda _fault: b"NaN",
    "huge_field": lambda fault: b'"' + b"x" * fault.size + b'"',
    "deep_field": lambda fault: b"[" * fault.depth + b"]" * fault.depth,
}
TWISTS = {"bom", *_EXTRAS}


def twisted(body: bytes, fault: StagedFault) -> bytes:
    """Return a JSON object with the fault's mark or extra field at its start; any other body as it is."""
    if not body.startswith(b"{"):
        return body
    if fault.kind == "bom":
        return _BOM + body
    comma = b"" if body == b"{}" else b","
    return b"{" + _FIELD + _EXTRAS[fault.kind](fault) + comma + body[1:]


def renamed(reply: SimulatedReply, paths: Sequence[tuple[str | int, ...]], header: str, new_id: str) -> SimulatedReply:
    """Put ``new_id`` where the reply names what was bought: at ``paths`` of its JSON, and in ``header``."""
    if header in reply.headers:
        reply.headers[header] = new_id
    if not paths:
        return reply
    document = json.loads(reply.body, parse_float=Decimal)
    for *way, last in paths:
        place: Any = document
        for step in way:
            place = place[step]
        place[last] = new_id
    return SimulatedReply.json(reply.status, document, reply.headers)


def long_id(real: str, length: int) -> str:
    """Return an id of ``length`` characters that begins as ``real`` does and that no compression makes short."""
    noise = (digest("long id", real, number).hex() for number in range(length // 64 + 1))
    return f"{real}-{''.join(noise)}"[:length]
