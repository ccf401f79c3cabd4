"""Rows of a plain text file: one prompt a line, as it stands."""

from collections.abc import Iterator
from typing import Any

from producer.prompts.faults import Faults
from producer.prompts.lines import Lines, decode, too_long


def text_rows(lines: Lines, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, its prompt) of each line that is not blank."""
    for line in lines:
        if line.oversize:
            faults.add(line.number, "row", too_long(lines.max_bytes))
            continue
        text = decode(line, faults)
        if text is None or not text.strip():
            continue
        prompt = text.rstrip("\r\n")
        if "\r" in prompt:
            faults.add(line.number, "row", "has a carriage return inside; save the file with LF or CRLF line ends")
        else:
            yield line.number, {"prompt": prompt}
