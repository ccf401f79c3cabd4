"""The audit: one line for each command of a person, written in the command's own transaction.

It never contains a prompt, a key or a reason in a person's words: this module chooses what is written.
"""

import json
import os
import pwd
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs.bulk import SecondCharge, Target, second_charge
from shared.ids import new_id

_NAME_CHARS: Final = 100
# A command on many jobs commits a hundred at a time. Each part adds to the command's single line.
_NOTE: Final = text("""
INSERT INTO audit (id, actor, door, act, terms, batch, account, error_code, job, changed, worst_cost, unpriced)
VALUES (:id, :actor, :door, :act, :terms, :batch, :account, :error_code, :job, :changed, CAST(:worst_cost AS jsonb),
  :unpriced)
ON CONFLICT (id) DO UPDATE SET changed = audit.changed + excluded.changed,
  unpriced = audit.unpriced + excluded.unpriced,
  worst_cost = (
    SELECT coalesce(jsonb_object_agg(unit, amount), '{}') FROM (
      SELECT key AS unit, CAST(sum(CAST(value AS numeric)) AS text) AS amount FROM (
        SELECT * FROM jsonb_each_text(audit.worst_cost) UNION ALL SELECT * FROM jsonb_each_text(excluded.worst_cost)
      ) AS parts GROUP BY key) AS sums)
""")
_NEWEST: Final = text("""
SELECT at, actor, door, act, terms, batch, account, error_code, job, changed, worst_cost, unpriced FROM audit
ORDER BY at DESC, id DESC LIMIT :limit
""")
FREE: Final = SecondCharge({}, 0)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and through which interface: `cli`, `sdk`, or a program's own name."""

    name: str
    door: str

    @classmethod
    def of_process(cls, door: str) -> Self:
        """Return the operating system's user of this process, or its number if it has no name."""
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = f"uid {os.getuid()}"
        return cls(name, door)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One command: its act and terms, and the person's selection."""

    actor: Actor
    act: str
    terms: str = ""
    batch: str | None = None
    account: str | None = None
    error_code: str | None = None
    job: UUID | None = None
    id: UUID = field(default_factory=new_id)


def note(connection: Connection, entry: AuditEntry, *, changed: int, worst: SecondCharge = FREE) -> None:
    """Write the line of a command, or add another part to it; write nothing if nothing was changed.

    `changed` counts jobs, or the one account or batch; `worst` is the most that the command can pay a second time.
    """
    if not changed:
        return
    amounts = {unit: f"{amount:f}" for unit, amount in worst.amounts.items() if amount}
    values = asdict(entry) | {"actor": _printable(entry.actor.name), "door": _printable(entry.actor.door)}
    connection.execute(
        _NOTE, {**values, "changed": changed, "worst_cost": json.dumps(amounts), "unpriced": worst.unpriced}
    )


def note_targets(connection: Connection, entry: AuditEntry, acted: Sequence[Target], paying: Sequence[Target]) -> None:
    """Write or add to the line of a command on many jobs; those `paying` may be paid for a second time."""
    note(connection, entry, changed=len(acted), worst=second_charge(paying))


def newest(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the last `limit` lines, newest first; amounts of `worst_cost` by unit."""
    rows = connection.execute(_NEWEST, {"limit": limit}).mappings()
    return [{**row, "worst_cost": _amounts(row["worst_cost"])} for row in rows]


def _amounts(stored: dict[str, str]) -> dict[str, Decimal]:
    return {unit: Decimal(amount) for unit, amount in sorted(stored.items())}


def _printable(name: str) -> str:
    return "".join(filter(str.isprintable, name))[:_NAME_CHARS] or "unknown"
