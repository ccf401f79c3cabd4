"""Tables of a terminal's width: no word is broken and nothing is left out."""

from collections.abc import Sequence

import pytest

from producer.cli.tables import fitted, lay_out

NAMES = ("name", "jobs", "succeeded", "note")


def laid_out(*rows: Sequence[str], names: Sequence[str] = NAMES, width: int = 80) -> list[str]:
    return [line.text for line in lay_out(names, rows, width)]


def test_columns_that_fit_stand_side_by_side_with_numbers_to_the_right() -> None:
    assert laid_out(("spring", "5", "4", "fine"), ("autumn", "12", "", "")) == [
        "name    jobs  succeeded  note",
        "spring     5          4  fine",
        "autumn    12",
    ]


def test_a_sentence_goes_on_below_itself() -> None:
    assert laid_out(("spring", "5", "4", "one of them was refused by the provider"), width=48) == [
        "name    jobs  succeeded  note",
        "spring     5          4  one of them was refused",
        "                         by the provider",
    ]


def test_a_long_name_stands_above_its_own_line_and_moves_no_other() -> None:
    assert laid_out(("a-batch-with-a-long-name", "5", "4", "fine"), ("spring", "3", "2", ""), width=40) == [
        "name               jobs  succeeded  note",
        "a-batch-with-a-long-name",
        "                      5          4  fine",
        "spring                3          2",
    ]


def test_columns_that_do_not_fit_stand_below_the_first() -> None:
    assert laid_out(("a-batch-with-a-long-name", "5", "4", "fine"), width=30) == [
        "name",
        "  jobs  succeeded  note",
        "a-batch-with-a-long-name",
        "     5          4  fine",
    ]


def test_a_last_word_that_fits_nowhere_has_a_line_of_its_own() -> None:
    address = "postgresql://me@127.0.0.1:5432/genqueue"
    assert laid_out(("GENQUEUE_DATABASE_URL", address), names=("setting", "value"), width=44) == [
        "setting                value",
        "GENQUEUE_DATABASE_URL",
        f"  {address}",
    ]


@pytest.mark.parametrize("width", [10, 20, 40, 80, 200])
@pytest.mark.parametrize(
    "words", ["short", "a_custom_id_that_is_much_longer_than_the_terminal_is_wide" * 2, "港の静かな朝" * 9]
)
def test_no_word_is_broken_or_left_out_at_any_width(width: int, words: str) -> None:
    cells = [words, "1234567890", "in_doubt", f"what {words} came to"]
    told = " ".join(laid_out(cells, width=width)).split()
    assert [word for cell in cells for word in cell.split()] == [word for word in told if word not in NAMES]


def test_a_table_without_rows_names_its_columns() -> None:
    assert [(line.text, line.is_head) for line in lay_out(NAMES, [], 80)] == [("name  jobs  succeeded  note", True)]


def test_brackets_are_text_and_no_markup_and_a_column_of_ids_is_no_column_of_numbers() -> None:
    assert laid_out(("[red]x[/red]", "7f"), ("b", "3"), names=("custom_id", "id")) == [
        "custom id     id",
        "[red]x[/red]  7f",
        "b             3",
    ]


def test_columns_give_way_in_turn_and_no_further_than_they_may() -> None:
    names, row = ("id", "what", "on"), ("1234", "a long command", "a long name of a batch")
    least = {"on": 8, "what": 6}
    assert fitted(names, [row], least, 80) == [list(row)]
    assert fitted(names, [row], least, 40) == [["1234", "a long command", "a long name of..."]]
    assert fitted(names, [row], least, 28) == [["1234", "a long co...", "a lon..."]]
    assert fitted(names, [row], least, 10) == [["1234", "a l...", "a lon..."]]
