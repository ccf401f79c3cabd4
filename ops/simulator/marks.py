"""Marks in a prompt that pick the outcome of its generation, so that a demo needs no fault plan.

| mark | Bloom | getimg |
|---|---|---|
| ``[sim:moderated]`` | accepted and billed, then failed with ``content_safety`` | 422, not billed |
| ``[sim:failed]`` | accepted and billed, then failed with no reason | 500, not billed |
| ``[sim:rate_limited]`` | accepted and billed, then failed with ``rate_limited`` | no effect |
| ``[sim:corrupt]`` | the file is cut off after two thirds | the same |
| ``[sim:html]`` | the file is an HTML page under the image's content type | the same |
| ``[sim:expired]`` | every signed target is already expired | the link is dead on arrival |
| ``[sim:lost]`` | accepted and billed, the connection closes without a byte | the same |
| ``[sim:lost_once]`` | the same, for the first such request only | the same |
"""

import re

_MARK = re.compile(r"\[sim:([a-z_]+)\]")


def marks_in(prompt: str) -> frozenset[str]:
    """Return the names of all marks in ``prompt``."""
    return frozenset(_MARK.findall(prompt))
