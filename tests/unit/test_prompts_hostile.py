"""Prompt files that are wrong: each kind of wrong gives its line, its field and words to act on."""

import codecs
import io
import os
from pathlib import Path

import pytest

from producer.prompts import Format, PromptFileError, read
from shared.prompt_rows.faults import FAULTS_KEPT

_BRAND = "0b8f7f9e-4f2b-4c5d-8a1e-0123456789ab"
_BOTH = {"bloom", "getimg"}


def _faults(
    data: bytes | str, file_format: Format = "csv", *, default: str | None = "bloom", limit: int = 2**20
) -> list[tuple[int, str, str]]:
    raw = data.encode() if isinstance(data, str) else data
    with read(
        "-",
        format=file_format,
        default_provider=default,
        providers=_BOTH,
        stdin=io.BytesIO(raw),
        max_record_bytes=limit,
    ) as prepared:
        assert prepared.fault_count == len(prepared.faults)
        return [(fault.line, fault.field, fault.message) for fault in prepared.faults]


def _only(faults: list[tuple[int, str, str]], line: int, field: str, *words: str) -> None:
    assert [fault[:2] for fault in faults] == [(line, field)], faults
    for word in words:
        assert word in faults[0][2]


@pytest.mark.parametrize("file_format", ["auto", "csv", "jsonl", "txt"])
@pytest.mark.parametrize("data", [b"", b"\n\r\n \n", codecs.BOM_UTF8])
def test_an_empty_file_is_a_fault(file_format: Format, data: bytes) -> None:
    _only(_faults(data, file_format), 1, "row", "holds no prompts")


def test_a_header_without_rows_is_a_fault() -> None:
    _only(_faults("prompt,n\n"), 1, "row", "header but no rows")


def test_a_missing_prompt_column_is_named_with_the_way_out() -> None:
    _only(_faults("custom_id,n\na,1\n"), 1, "prompt", "no column prompt", "format txt")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("Prompt", "did you mean prompt?"),
        ("aspectratio", "did you mean aspect_ratio?"),
        ("aspectRatio", "did you mean aspect_ratio?"),
        ("imageSize", "did you mean size?"),
        ("brandSessionId", "did you mean options.brandSessionId?"),
        ("resolution", "did you mean size or options.resolution?"),
        ("autoEnhance", "did you mean options.autoEnhance?"),
        ("enhancementOptions.template", "did you mean options.enhancementOptions.template?"),
        ("colour", "known: prompt, custom_id"),
        ("options.", "is not a known column"),
    ],
)
def test_an_unknown_column_is_named_with_a_suggestion(column: str, words: str) -> None:
    _only(_faults(f"prompt,{column}\na,1\n"), 1, column, words)
    _only(_faults(f'\n{{"prompt":"a","{column}":1}}\n', "jsonl"), 2, column, words)


def test_a_column_twice_and_a_cell_under_no_name_are_faults() -> None:
    assert [fault[1] for fault in _faults("prompt,,n,n\na,,1,1\n")] == ["n"]
    _only(_faults("prompt,,n\na,,1\nb,x,1\n"), 3, "(no name)", "1 cell stands under a column without a name")


def test_a_hundred_thousand_unknown_keys_are_one_fault_with_ten_names_and_a_number() -> None:
    row = "{" + ",".join(f'"k{i}":1' for i in range(50_000)) + ',"prompt":"a"}'
    faults = _faults(row, "jsonl")
    _only(faults, 1, "columns", "k0, k1, k2, k3, k4, k5, k6, k7, k8, k9 and 49990 more are not known columns")


@pytest.mark.parametrize("prompt", ["", "   ", "\u00a0"])
def test_a_blank_prompt_is_a_fault(prompt: str) -> None:
    _only(_faults(f"prompt,n\n{prompt},1\n"), 2, "prompt", "is ")
    _only(_faults(f'{{"prompt":"{prompt}"}}\n', "jsonl"), 1, "prompt", "is blank")


def test_a_byte_that_is_not_utf8_is_located() -> None:
    bad = "caf\u00e9".encode("latin-1")
    _only(_faults(b"prompt\na\n" + bad + b"\n"), 3, "file", "byte 0xE9 at offset 3 of the line (12 of the file)")
    _only(_faults(b"a\n" + bad + b"\n", "txt"), 2, "file", "0xE9 at offset 3 of the line (5 of the file)")
    _only(_faults(b'{"prompt":"' + bad + b'"}', "jsonl"), 1, "file", "0xE9 at offset 14")
    _only(_faults(codecs.BOM_UTF8 + bad, "txt"), 1, "file", "at offset 3 of the line (6 of the file)")


def test_a_bad_byte_inside_a_quoted_cell_spoils_that_record_only() -> None:
    data = b'prompt,n\n"one\n\xff\nthree",1\n"good",1\nbad,0\n'
    assert [fault[:2] for fault in _faults(data)] == [(3, "file"), (6, "n")]


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "txt"])
def test_a_nul_byte_is_a_fault(file_format: Format) -> None:
    head = b"prompt\n" if file_format == "csv" else b""
    _only(_faults(head + b"a\0b\n", file_format), 1 + len(head) // 7, "row", "NUL byte")


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "txt"])
def test_reading_goes_on_after_a_line_beyond_the_limit(file_format: Format) -> None:
    long = b"x" * 5000
    good = {"csv": b"good,1\n", "jsonl": b'{"prompt":"good"}\n', "txt": b"good\n"}[file_format]
    head = b"prompt,n\n" if file_format == "csv" else b"\n"
    data = head + long + b"\n" + good + long
    assert _faults(data, file_format, limit=100) == [
        (2, "row", "is longer than 100 bytes"),
        (4, "row", "is longer than 100 bytes"),
    ]


def test_a_line_of_exactly_the_limit_is_read() -> None:
    assert _faults("x" * 99 + "\n" + "y" * 100, "txt", limit=100) == []


def test_an_unterminated_quote_does_not_swallow_the_file() -> None:
    data = 'prompt,n\n"never closed,1\n' + "a,1\n" * 100 + "bad,0\n"
    faults = _faults(data, limit=100)
    assert faults[0] == (2, "row", "is longer than 100 bytes; is a closing quote missing?")
    assert [fault[:2] for fault in faults[1:]] == [(103, "n")]


def test_an_unterminated_quote_in_a_short_file_is_named_at_its_line() -> None:
    _only(_faults('prompt,n\na,1\n"never closed,1\nb,1\n'), 3, "row", "never closed")


def test_text_after_a_closing_quote_is_a_fault_and_reading_goes_on() -> None:
    assert [fault[:2] for fault in _faults('prompt,n\n"a" b,1\nfine,1\nbad,0\n')] == [(2, "row"), (4, "n")]


def test_a_wrong_number_of_cells_is_a_fault_with_both_numbers() -> None:
    _only(_faults("prompt,n\na cat, sleeping,1\n"), 2, "row", "has 3 cells, the header has 2", "in quotes")
    _only(_faults("prompt,n\na cat\n"), 2, "row", "has 1 cell, the header has 2", "a comma is missing")


def test_faults_of_a_record_over_several_lines_name_its_first_line() -> None:
    _only(_faults('prompt,n\n"one\ntwo\nthree",0\n'), 2, "n", "from 1 to 10")


def test_old_mac_line_ends_are_named() -> None:
    assert "LF or CRLF" in _faults("prompt,n\ra,1\r")[0][2]
    _only(_faults("one\rtwo", "txt"), 1, "row", "LF or CRLF")


def test_a_cell_beyond_the_csv_modules_limit_is_a_fault() -> None:
    _only(_faults(f"prompt\n{'x' * 200_000}\n"), 2, "row", "has a cell of more than 131072 characters")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "is not a JSON object"),
        ('"text"', "is not a JSON object"),
        ("null", "is not a JSON object"),
        ("{", "is not valid JSON"),
        ('{"prompt":"a"} {"prompt":"b"}', "is not valid JSON: Extra data at character 16"),
        ('{"prompt":"a","prompt":"b"}', "a key twice"),
        ('{"prompt":"a","options":{"x":1,"x":2}}', "a key twice"),
        ('{"prompt":"a","n":NaN}', "contains NaN"),
        ('{"prompt":"a","n":-Infinity}', "contains -Infinity"),
        ('{"prompt":"a","seed":' + "9" * 5000 + "}", "too many digits"),
        ('{"prompt":' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_not_a_sound_json_object_is_a_fault(line: str, words: str) -> None:
    _only(_faults(line, "jsonl"), 1, "row", words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt":"a","prompt":"b"}', "a key twice"),
        ('{"prompt":"a","n":NaN}', "contains NaN"),
        ('{"prompt":"a","seed":' + "9" * 5000 + "}", "too many digits"),
        ('{"prompt":"a","options":{"x":[' + "9" * 5000 + "]}}", "too many digits"),
        ('{"prompt":' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_an_object_of_an_array_that_is_not_sound_is_a_fault(line: str, words: str) -> None:
    assert words in _faults(f'[{{"prompt":"a"}},{line}]', "json")[-1][2]


@pytest.mark.parametrize(
    ("member", "field", "words"),
    [
        ('"prompt":5', "prompt", "must be text"),
        ('"prompt":["a"]', "prompt", "must be text"),
        ('"prompt":null', "prompt", "is missing"),
        ('"prompt":"\\ud800"', "prompt", "surrogate"),
        ('"prompt":"a\\u0000b"', "prompt", "U+0000"),
        ('"prompt":"a\\u001b[31m"', "prompt", "U+001B"),
        ('"prompt":"a","n":0', "n", "from 1 to 10"),
        ('"prompt":"a","n":"2"', "n", "whole number"),
        ('"prompt":"a","n":1e999', "n", "whole number"),
        ('"prompt":"a","n":true', "n", "whole number"),
        ('"prompt":"a","n":6', "n", "from 1 to 5 (Bloom)"),
        ('"prompt":"a","seed":123456789012345678901234567890', "seed", "64 bits"),
        ('"prompt":"a","seed":1', "seed", "Bloom has no seed"),
        ('"prompt":"a","priority":1.5', "priority", "whole number from -32768 to 32767"),
        ('"prompt":"a","priority":40000', "priority", "whole number"),
        ('"prompt":"a","priority":false', "priority", "whole number"),
        ('"prompt":"a","custom_id":5', "custom_id", "must be text"),
        ('"prompt":"a","custom_id":""', "custom_id", "is blank"),
        ('"prompt":"a","custom_id":" a"', "custom_id", "printable"),
        ('"prompt":"a","custom_id":"a\\nb"', "custom_id", "printable"),
        ('"prompt":"a","custom_id":"\\udfff"', "custom_id", "surrogate"),
        ('"prompt":"a","custom_id":"' + "x" * 256 + '"', "custom_id", "the limit is 255"),
        ('"prompt":"a","provider":"dalle"', "provider", "must be one of bloom, getimg"),
        ('"prompt":"a","provider":["bloom"]', "provider", "must be one of"),
        ('"prompt":"a","references":"x"', "references", "must be a list"),
        ('"prompt":"a","references":["cat.png"]', "references", "not a URL or a file (Bloom)"),
        ('"prompt":"a","provider":"getimg","model":"m","references":["C:\\\\cat.png"]', "references", "local file"),
        ('"prompt":"a","provider":"getimg","model":"m","references":["file:cat.png"]', "references", "give a URL"),
        ('"prompt":"a","options":[1]', "options", "must be an object"),
        ('"prompt":"a","options":{"x":1e999}', "options", "not finite"),
        (f'"prompt":"a","options":{{"brandSessionId":"{_BRAND}"}},"options.brandSessionId":"{_BRAND}"',
         "options.brandSessionId", "in options as well"),
        (f'"prompt":"a","options":{{"brandSessionId":"{_BRAND}"}},"options.brandSessionId.x":1',
         "options.brandSessionId.x", "in options as well"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_a_fault_of_its_field(member: str, field: str, words: str) -> None:
    _only(_faults("{" + member + "}", "jsonl"), 1, field, words)


@pytest.mark.parametrize(("cell", "words"), [("two", "whole number"), ("1.5", "whole number"), ("9" * 30, "whole")])
def test_a_csv_cell_that_is_no_number_is_a_fault(cell: str, words: str) -> None:
    _only(_faults(f"prompt,n\na,{cell}\n"), 2, "n", words)


def test_a_row_without_any_provider_says_what_to_do() -> None:
    _only(_faults("a\n", "txt", default=None), 1, "provider", "add a column provider or name a default")


def test_a_repeated_custom_id_names_both_lines() -> None:
    _only(_faults("prompt,custom_id\na,x\nb,y\nc,x\n"), 4, "custom_id", "that of line 2 as well")


def test_a_custom_id_that_equals_the_made_up_id_of_another_line_is_a_repetition() -> None:
    _only(_faults("prompt,custom_id\na,\nb,row-000002\n"), 3, "custom_id", "that of line 2")


def test_a_made_up_id_that_an_earlier_row_was_given_is_a_repetition() -> None:
    _only(_faults("prompt,custom_id\na,row-000003\nb,\n"), 3, "custom_id", "that of line 2")


def test_ids_of_the_made_up_form_may_be_given_as_long_as_they_differ() -> None:
    assert _faults("prompt,custom_id\na,row-000007\nb,row-2\nc,\nd,row-0000002\n") == []


def test_every_fault_of_a_row_is_told_at_once() -> None:
    row = '{"prompt":"a","size":"1K","seed":1,"custom_id":5,"colour":"red"}'
    assert sorted(fault[1] for fault in _faults(row, "jsonl")) == ["colour", "custom_id", "seed", "size"]


def test_faults_beyond_the_bound_are_counted_and_not_kept() -> None:
    data = b"{\n" * (FAULTS_KEPT + 500)
    with read("-", format="jsonl", default_provider="bloom", providers=_BOTH, stdin=io.BytesIO(data)) as prepared:
        assert len(prepared.faults) == FAULTS_KEPT
        assert prepared.fault_count == FAULTS_KEPT + 500


def test_no_fault_quotes_a_prompt_or_a_link() -> None:
    secret = "https://secret.example/a?X-Amz-Signature=1"
    rows = (
        f'{{"prompt":"secret\\u0000","references":["{secret}", 1]}}',
        f'{{"prompt":"secret","seed":1,"references":["{secret}"],"options":{{"brandSessionId":"{secret}"}}}}',
        '{"prompt":"secret" "secret"}',
    )
    faults = _faults("\n".join(rows), "jsonl")
    assert len(faults) >= 5
    assert "secret" not in str(faults)


def test_a_directory_a_missing_file_and_an_impossible_name_are_one_clear_error(tmp_path: Path) -> None:
    cases = (
        (tmp_path, "is a directory"),
        (tmp_path / "no.csv", "does not exist"),
        ("a\0b", "is not a file name"),
    )
    for path, words in cases:
        with pytest.raises(PromptFileError, match=words):
            read(path, default_provider="bloom", providers=_BOTH)


def test_a_source_that_breaks_while_it_is_read_is_one_clear_error() -> None:
    class _Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, os.strerror(5))

    with pytest.raises(PromptFileError, match="standard input cannot be read: Input/output error"):
        read("-", default_provider="bloom", providers=_BOTH, stdin=_Broken())


def test_a_default_provider_that_is_not_allowed_is_refused_at_once() -> None:
    with pytest.raises(PromptFileError, match="no provider 'dalle'; known: bloom, getimg"):
        read("-", default_provider="dalle", providers=_BOTH, stdin=io.BytesIO(b""))


def test_a_fault_names_its_row_by_custom_id_or_as_a_spreadsheet_numbers_it() -> None:
    data = io.BytesIO(b'prompt,n,custom_id\n"two\nlines",1,\nx,99,\nx,99,hero\n"y\n\nz",99,\n\nx,99,\n')
    with read("-", format="csv", default_provider="bloom", providers=_BOTH, stdin=data) as prepared:
        rows = [(fault.line, fault.row) for fault in prepared.faults]
    assert rows == [(4, "row 3"), (5, "hero"), (6, "row 5"), (10, "row 7")]


def test_a_fault_whose_line_is_its_row_names_no_number() -> None:
    data = b"prompt,n\nx,99\n"
    with read("-", format="csv", default_provider="bloom", providers=_BOTH, stdin=io.BytesIO(data)) as prepared:
        assert [fault.row for fault in prepared.faults] == [""]
