"""Rows of a JSON Lines file: one object a line."""

from collections.abc import Iterator
from typing import Any

from producer.prompts import strict_json
from producer.prompts.faults import Faults
from producer.prompts.lines import Lines, decode, too_long


def jsonl_rows(lines: Lines, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, members) of each sound object; a member that is null counts as absent."""
    for line in lines:
        if line.oversize:
            faults.add(line.number, "row", too_long(lines.max_bytes))
            continue
        text = decode(line, faults)
        if text is None or not text.strip():
            continue
        try:
            row = strict_json.parse(text.strip())
        except strict_json.RowJsonError as error:
            faults.add(line.number, "row", str(error))
            continue
        if isinstance(row, dict):
            yield line.number, {name: value for name, value in row.items() if value is not None}
        else:
            faults.add(line.number, "row", "is not a JSON object; write one object a line, without an outer array")
