"""Rows of a JSON Lines file: one object a line."""

from collections.abc import Iterator
from typing import Any, Final

from producer.prompts import strict_json
from producer.prompts.lines import Lines, decode, too_long
from shared.prompt_rows.faults import Faults
from shared.prompt_rows.rules import RowRules

_OF_OPENAI: Final = (
    "is a request of OpenAI's batch format; give the members of its body themselves: "
    "jq -c '{custom_id} + .body' FILE > FILE.jsonl"
)


def jsonl_rows(lines: Lines, faults: Faults, rules: RowRules) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, members) of each sound object; a member that is null counts as absent."""
    for line in lines:
        if line.oversize:
            faults.add(line.number, "row", too_long(lines.max_bytes))
            continue
        text = decode(line, faults, rules.ways)
        if text is None or not text.strip():
            continue
        try:
            row = strict_json.parse(text.strip())
        except strict_json.RowJsonError as error:
            faults.add(line.number, "row", str(error))
            continue
        if (members := checked(line.number, row, faults)) is not None:
            yield line.number, members


def checked(line: int, row: Any, faults: Faults) -> dict[str, Any] | None:
    """Return the members of a row that are not null; None after recording why it is no row."""
    if not isinstance(row, dict):
        faults.add(line, "row", "is not a JSON object; write one object a line, or an array of objects")
        return None
    if isinstance(row.get("body"), dict) and "url" in row:
        faults.add(line, "row", _OF_OPENAI)
        return None
    return {name: value for name, value in row.items() if value is not None}
