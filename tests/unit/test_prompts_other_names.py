"""Columns of people's own files that are ours under another name."""

import io
import json
from typing import Any

import pytest

from producer.prompts import ColumnNameError, Format, RowRules, Template, parse_columns, read
from shared.prompt_rows.ways import COMMAND_LINE, FORM, PROGRAM, UPLOAD, Ways

_GERMAN = "Artikel;Titel;Bildformat;Anzahl\nA-1;eine Tasse;16:9;2\n"
_NAMES = {"custom_id": "Artikel", "prompt": "Titel", "aspect_ratio": "Bildformat", "n": "Anzahl"}


def _read(data: str, rules: RowRules, form: Format = "csv") -> tuple[list[Any], list[tuple[str, str]]]:
    stdin = io.BytesIO(data.encode())
    with read("-", format=form, default_provider="bloom", providers={"bloom"}, stdin=stdin, rules=rules) as prepared:
        faults = [(fault.field, fault.message) for fault in prepared.faults]
        return [] if faults else [(row.custom_id, json.loads(row.request)) for row in prepared.rows()], faults


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("csv", _GERMAN),
        ("jsonl", '{"Artikel": "A-1", "Titel": "eine Tasse", "Bildformat": "16:9", "Anzahl": 2}\n'),
        ("json", '[{"Artikel": "A-1", "Titel": "eine Tasse", "Bildformat": "16:9", "Anzahl": 2}]'),
    ],
)
def test_a_column_of_theirs_is_read_as_ours(form: Format, data: str) -> None:
    rows = [("A-1", {"aspect_ratio": "16:9", "n": 2, "prompt": "eine Tasse"})]
    assert _read(data, RowRules(columns=_NAMES), form) == (rows, [])


def test_a_template_may_name_a_renamed_column_as_the_file_does() -> None:
    names = {"custom_id": "Artikel", "aspect_ratio": "Bildformat", "n": "Anzahl"}
    rules = RowRules(columns=names, prompt=Template("{Titel}, {Bildformat}"))
    rows, faults = _read(_GERMAN, rules)
    assert (rows[0][1]["prompt"], faults) == ("eine Tasse, 16:9", [])


@pytest.mark.parametrize(
    ("header", "columns", "field", "words"),
    [
        ("prompt,Bildformat", {"aspect_ratio": "Bildfornat"}, "aspect_ratio", "did you mean Bildformat?"),
        ("prompt,size,Format", {"size": "Format"}, "size", "is a column, and Format stands for it too"),
    ],
)
def test_a_name_that_does_not_fit_the_file_is_a_fault(
    header: str, columns: dict[str, str], field: str, words: str
) -> None:
    _, faults = _read(f"{header}\n{','.join('x' for _ in header.split(','))}\n", RowRules(columns=columns))
    assert words in dict(faults)[field]


def test_a_row_that_has_both_names_is_a_fault() -> None:
    _, faults = _read('{"prompt": "a", "n": 1, "Anzahl": 2}\n', RowRules(columns={"n": "Anzahl"}), "jsonl")
    assert ("n", "is given, and Anzahl stands for it too; leave one out") in faults


@pytest.mark.parametrize(
    ("ways", "remedy"),
    [
        (COMMAND_LINE, "--column 'aspect_ratio=Aspect Ratio' takes it for aspect_ratio"),
        (FORM, "'Columns under other names' takes it for aspect_ratio: aspect_ratio=Aspect Ratio"),
        (UPLOAD, "?column=aspect_ratio=Aspect Ratio in the address"),
    ],
)
def test_a_column_that_looks_like_ours_is_told_how_to_be_ours(ways: Ways, remedy: str) -> None:
    _, ((field, message),) = _read("prompt,Aspect Ratio\na,16:9\n", RowRules(ways=ways))
    assert field == "Aspect Ratio"
    assert remedy in message
    _, faults = _read("prompt,Aspect Ratio\na,16:9\n", RowRules(ways=PROGRAM))
    assert "takes it" not in faults[0][1]


def test_columns_like_none_of_ours_are_told_the_option_too() -> None:
    _, ((_, message),) = _read("prompt,Bildformat,Artikel\na,16:9,1\n", RowRules(ways=COMMAND_LINE))
    assert "--column 'OURS=THEIRS' takes it for OURS" in message


def test_no_command_is_told_with_a_name_that_would_end_its_quotes() -> None:
    _, faults = _read("prompt,model';id;'\na,x\n", RowRules(ways=COMMAND_LINE))
    assert "--column 'model=model'" not in str(faults)
    _, faults = _read("title'$(id)',title\na,b\n", RowRules(ways=COMMAND_LINE, keep_columns=True))
    assert "a photo of {title}'" in dict(faults)["prompt"]


@pytest.mark.parametrize("pair", ["aspect_ratio", "=Bildformat", "aspect_ratio=", "format=Bildformat", "metadata=m"])
def test_a_pair_that_means_nothing_is_refused(pair: str) -> None:
    with pytest.raises(ColumnNameError):
        parse_columns([pair])


@pytest.mark.parametrize("pairs", [["n=a", "n=b"], ["n=a", "seed=a"]])
def test_a_column_that_two_pairs_name_is_refused(pairs: list[str]) -> None:
    with pytest.raises(ColumnNameError, match="another pair names too"):
        parse_columns(pairs)


def test_an_option_of_a_provider_may_have_another_name() -> None:
    assert parse_columns(["options.style=Stil", "prompt = Titel = neu"]) == {
        "options.style": "Stil",
        "prompt": "Titel = neu",
    }
