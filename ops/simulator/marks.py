"""Marks in a prompt that pick the outcome of its generation, so that a demo needs no fault plan.

A mark is written ``[sim:moderated]``. docs/simulator.md is made of this text.

| mark | Bloom | getimg | OpenRouter | PostEverywhere | Banatie |
|---|---|---|---|---|---|
| ``moderated`` | billed, fails: ``content_safety`` | 422 | 403 with its reasons | 400 | fails, says why |
| ``failed`` | billed, fails without a reason | 500 | 502 | billed, its media fails | fails, says why |
| ``rate_limited`` | billed, fails: ``rate_limited`` | - | - | - | fails, says why |
| ``expired`` | its signed targets are dead | its link is dead | - | its signed link is dead | - |

What is answered with an error is not billed. In every wire, and for OpenRouter inside the reply,

| mark | does |
|---|---|
| ``corrupt`` | the file is cut off after two thirds |
| ``html`` | the file is an HTML page under the image's content type |
| ``lost`` | accepted, then the connection closes without a byte: billed, but not by OpenRouter |
| ``lost_once`` | the same, for the first such request only |
"""

import re

_MARK = re.compile(r"\[sim:([a-z_]+)\]")


def defect_in(marks: frozenset[str]) -> str | None:
    """Return what is wrong with a file that carries ``marks``: "corrupt", "html" or nothing."""
    return next((mark for mark in ("corrupt", "html") if mark in marks), None)


def marks_in(prompt: str) -> frozenset[str]:
    """Return the names of all marks in ``prompt``."""
    return frozenset(_MARK.findall(prompt))
