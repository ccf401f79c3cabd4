"""Text from outside reaches a terminal as it is written, and commands neither it nor the tables."""

import pytest
from rich.table import Table

from producer.cli.results import harmless
from producer.cli.tables import show_cells
from producer.cli.terminal import Terminal, styled, visible


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\nb\r\tc", "a\\x0ab\\x0d\\x09c"),
        ("\x9b31m", "\\x9b31m"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
        ("\u2066x\u2069\u200f", "\\u2066x\\u2069\\u200f"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("ein Häfen, 港, 👩‍🚀 [/b] :smile:", "ein Häfen, 港, 👩‍🚀 [/b] :smile:"),
    ],
)
def test_what_commands_a_terminal_is_written_out_and_everything_else_stays(written: str, shown: str) -> None:
    assert visible(written) == shown
    assert visible(shown) == shown


@pytest.mark.parametrize("text", ["[/", "[/b]", "[bold]x", "a\\", ":smile:", "[link=file:///]x", "\x1b[2J"])
def test_no_text_is_read_as_markup_or_as_an_emoji_by_any_way_of_printing(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(box=None)
    table.add_row(text, styled(text, "red"))
    terminal = Terminal(soft_wrap=True)
    terminal.print(text)
    terminal.print(styled(text, "bold"))
    terminal.print(table)
    show_cells((text,), [(text,)])
    assert capsys.readouterr().out.count(visible(text)) == 6


@pytest.mark.parametrize("start", "=+-@\t\r")
def test_free_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start: str) -> None:
    assert harmless(f"{start}1+1") == f"'{start}1+1"


@pytest.mark.parametrize("value", ["fine", "a=b", "", None, -1, "'=1"])
def test_other_cells_of_a_csv_file_are_not_changed(value: object) -> None:
    assert harmless(value) == value
