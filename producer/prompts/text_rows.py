"""Rows of a plain text file: one prompt a line, as it stands."""

import re
from collections.abc import Iterator
from typing import Any, Final

from producer.prompts.lines import Lines, decode, too_long
from shared.prompt_rows.faults import Faults
from shared.prompt_rows.rules import RowRules

_NO_PROMPT: Final = re.compile(r"\s*(?://|#(?:\s|$))")
_OPTIONS: Final = re.compile(r"\s(?:-[A-Za-z]\d+|--[a-z][a-z_-]+)(?=\s|$)")
_REMEDY: Final = "delete it, or give it in a CSV or JSON Lines file, where a prompt is what it says"


def not_a_prompt(line: str) -> str | None:
    """Say what a line looks like that nobody means as a prompt; None for a prompt."""
    if _NO_PROMPT.match(line):
        return "a comment"
    return "options of another program" if _OPTIONS.search(line) else None


def text_rows(lines: Lines, faults: Faults, rules: RowRules) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, its prompt) of each line that is not blank."""
    for line in lines:
        if line.oversize:
            faults.add(line.number, "row", too_long(lines.max_bytes))
            continue
        text = decode(line, faults, rules.ways)
        if text is None or not text.strip():
            continue
        prompt = text.rstrip("\r\n")
        if what := not_a_prompt(prompt):
            faults.add(line.number, "row", f"looks like {what}, and would be paid for as a prompt; {_REMEDY}")
            continue
        if "\r" in prompt:
            faults.add(line.number, "row", "has a carriage return inside; save the file with LF or CRLF line ends")
        else:
            yield line.number, {"prompt": prompt}
