"""What reaches a terminal: text that providers, files and people wrote is shown as it is, and commands nothing.

Such text may hold what Rich reads as markup, escape sequences that move the cursor or rename the window, and
direction marks that show a name in another order than it has.
"""

import re
from typing import Any, Final

from rich.console import Console
from rich.text import Text

# Controls (C0, C1), line and paragraph separators, halves of characters, and what reorders text or is not seen. The
# zero-width joiner stays: emoji need it.
_COMMANDING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\U000e0000-\U000e0fff]"
)
_LAST_SHORT: Final = 0xFF
_LAST_OF_FOUR: Final = 0xFFFF


def visible(text: str, *, keep_lines: bool = False) -> str:
    r"""Return `text` with what commands a terminal written out, such as `\x1b`; it stays on one line unless told."""
    if keep_lines:
        return "\n".join(map(visible, text.split("\n")))
    return _COMMANDING.sub(lambda found: _written_out(ord(found[0])), text)


def _written_out(code: int) -> str:
    if code <= _LAST_SHORT:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _LAST_OF_FOUR else f"\\U{code:08x}"


class Terminal(Console):
    """A console that reads no markup and no emoji names, and writes out what would command the terminal.

    Style comes from `Text` alone, whose maker passes its text through `visible`.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` for printing, also in a table's cell."""
        return super().render_str(visible(text, keep_lines=True), **{**options, "markup": False, "emoji": False})


def styled(text: str, style: str) -> Text:
    """Return `text` on one line in a style."""
    return Text(visible(text), style=style)
