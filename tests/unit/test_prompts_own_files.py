"""People's own files: their columns are carried along, prompts are made of them, and spreadsheets' habits are read."""

import codecs
import hashlib
import io
import json
from typing import Any

import pytest

from producer.prompts import PreparedFile, PromptFileError, RowRules, Template, TemplateError, read, read_rows
from shared import catalog, metadata

_PRODUCTS = 'sku,title,colour,size\nA-1,"Mug, large",red,XL\nA-2,Bowl,,S\n'
_COMPOSED = RowRules(keep_columns=True, keep=["size"], prompt=Template("a photo of {title} on white"))


def _read(data: bytes | str, rules: RowRules | None = None) -> PreparedFile:
    raw = data.encode() if isinstance(data, str) else data
    return read(
        "-",
        format="csv",
        default_provider="bloom",
        providers={"bloom", "getimg"},
        stdin=io.BytesIO(raw),
        rules=rules or RowRules(),
    )


def _jobs(data: bytes | str, rules: RowRules | None = None) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    with _read(data, rules) as prepared:
        assert prepared.faults == []
        return [(row.custom_id, json.loads(row.request), json.loads(row.metadata or "{}")) for row in prepared.rows()]


def _faults(data: str, rules: RowRules | None = None) -> list[tuple[int, str, str]]:
    with _read(data, rules) as prepared:
        return [(fault.line, fault.field, fault.message) for fault in prepared.faults]


def test_unknown_columns_are_one_fault_that_names_the_option_and_lists_ours() -> None:
    ((line, field, message),) = _faults("prompt,sku,colour\na cat,1,red\n")
    assert (line, field) == (1, "columns")
    assert message.startswith("sku, colour are not known columns; --keep-columns carries")
    assert "known: prompt, custom_id" in message


def test_a_missing_prompt_column_is_answered_with_a_template_of_the_files_own_columns() -> None:
    ((_, _, message),) = _faults("Artikelnr;Titel\n1;Tasse\n", RowRules(keep_columns=True))
    assert "--prompt 'a photo of {Titel}'" in message


def test_kept_columns_are_metadata_as_they_stand_and_empty_cells_are_absent() -> None:
    found = _jobs("prompt,sku,price,note\na cat,0012,1.50,\na dog,,=1+1, x \n", RowRules(keep_columns=True))
    assert [row[2] for row in found] == [{"sku": "0012", "price": "1.50"}, {"price": "=1+1", "note": "x"}]
    assert [row[1] for row in found] == [{"prompt": "a cat"}, {"prompt": "a dog"}]


def test_a_fault_in_a_column_that_may_be_somebodys_own_names_the_option_that_keeps_it() -> None:
    ((_, field, message),) = _faults("prompt,size\na shirt,XL\n", RowRules(keep_columns=True))
    assert field == "size"
    assert message.endswith("if this column means something else here: --keep size")


def test_a_column_named_as_ours_is_kept_if_it_is_named() -> None:
    assert _jobs("prompt,size\na mug,XL\n", RowRules(keep=["size"])) == [
        ("row-000002", {"prompt": "a mug"}, {"size": "XL"})
    ]


def test_meta_columns_and_a_metadata_object_need_no_option() -> None:
    ((_, request, carried),) = _jobs('prompt,meta.sku,metadata\na cat,0012,"{""shelf"": 7}"\n')
    assert (request, carried) == ({"prompt": "a cat"}, {"sku": "0012", "shelf": 7})


def test_metadata_of_a_program_is_an_object_of_any_json() -> None:
    given = {"prompt": "a cat", "metadata": {"order": {"id": 7, "lines": [1, 2]}, "vip": True}}
    with read_rows([given], default_provider="bloom", providers=catalog.names()) as prepared:
        (row,) = prepared.rows()
    assert json.loads(row.metadata) == given["metadata"]
    assert isinstance(given["metadata"], dict)


def test_metadata_is_no_part_of_the_request_and_of_its_fingerprint() -> None:
    with _read("prompt,meta.sku\na cat,1\na cat,2\n") as prepared:
        first, second = prepared.rows()
    assert (first.request, first.fingerprint) == (second.request, second.fingerprint)
    assert first.metadata != second.metadata


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1], "must be an object"),
        ("x", "must be an object"),
        ({"": 1}, "not printable text"),
        ({"a": float("nan")}, "a: contains a number that is not finite"),
        ({"a": {"b": "\x00"}}, "control character"),
        ({"a": 10**30}, "64 bits"),
        ({str(number): 1 for number in range(257)}, "has 257 keys; the limit is 256"),
        ({"a": "x" * metadata.MAX_BYTES}, "the limit is 65536"),
    ],
)
def test_what_cannot_be_metadata_is_a_fault(value: Any, words: str) -> None:
    rows = [{"prompt": "a cat", "metadata": value}]
    with read_rows(rows, default_provider="bloom", providers=catalog.names()) as prepared:
        ((_, field, message),) = prepared.faults
    assert field == "metadata"
    assert words in message


def test_a_product_list_becomes_prompts_and_ids_of_its_own_columns() -> None:
    rules = RowRules(
        keep_columns=True, keep=["size"], prompt=Template("{title} on {{white}}"), custom_id=Template("{sku}")
    )
    assert _jobs(_PRODUCTS, rules) == [
        (
            "A-1",
            {"prompt": "Mug, large on {white}"},
            {"sku": "A-1", "title": "Mug, large", "colour": "red", "size": "XL"},
        ),
        ("A-2", {"prompt": "Bowl on {white}"}, {"sku": "A-2", "title": "Bowl", "size": "S"}),
    ]


def test_columns_that_only_a_template_uses_need_no_option_and_are_not_carried_along() -> None:
    assert _jobs("title\nMug\n", RowRules(prompt=Template("a {title}"))) == [("row-000002", {"prompt": "a Mug"}, {})]


def test_a_prompt_may_be_composed_of_the_column_prompt() -> None:
    rules = RowRules(prompt=Template("{prompt}, on white"))
    assert [row[1]["prompt"] for row in _jobs("prompt\na mug\n", rules)] == ["a mug, on white"]


def test_an_empty_cell_that_a_prompt_needs_is_a_fault_of_its_line() -> None:
    instead = "{colour|} leaves it out, {colour|white} says white instead"
    assert _faults(_PRODUCTS, RowRules(keep_columns=True, keep=["size"], prompt=Template("{colour} {title}"))) == [
        (3, "prompt", f"is made of colour, which is empty here; {instead}"),
    ]


def test_a_template_that_does_not_fit_the_file_is_one_fault_with_a_suggestion() -> None:
    rules = RowRules(keep_columns=True, keep=["size"], prompt=Template("{titel}"))
    assert _faults(_PRODUCTS, rules) == [
        (1, "prompt", "is made of a column titel that the file does not have; did you mean title?")
    ]
    ((line, field, message),) = _faults("prompt,title\na,b\n", RowRules(prompt=Template("{title}")))
    assert (line, field) == (1, "prompt")
    assert "--prompt makes it too" in message


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{title}, {colour|white}, on wood", "Bowl, white, on wood"),
        ("{title}, {colour|}, on wood", "Bowl, on wood"),
        ("{colour|} {title}  on wood", "Bowl on wood"),
        ("{title} in {colour|}.", "Bowl in."),
        ("{title},  {size}", "Bowl,  S"),
    ],
)
def test_a_template_says_what_stands_for_an_empty_cell(template: str, prompt: str) -> None:
    found = _jobs("title,colour,size\nBowl,,S\n", RowRules(keep_columns=True, keep=["size"], prompt=Template(template)))
    assert [row[1]["prompt"] for row in found] == [prompt]


@pytest.mark.parametrize("text", ["", "a photo", "a {", "a {} b", "a } {title}", "{title"])
def test_text_without_columns_in_braces_is_no_template(text: str) -> None:
    with pytest.raises(TemplateError, match="column names in braces"):
        Template(text)


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
@pytest.mark.parametrize("declared", [False, True])
def test_columns_may_be_separated_as_spreadsheets_do(separator: str, declared: bool) -> None:  # noqa: FBT001
    data = 'custom_id,prompt,n\r\na,"a cat, asleep",2\r\n'.replace('"', "'").replace(",", separator).replace("'", '"')
    declaration = f"sep={separator}\r\n" if declared else ""
    with _read(declaration + data) as prepared:
        assert prepared.faults == []
        (row,) = prepared.rows()
    assert (row.line, row.custom_id, json.loads(row.request)["n"]) == (2 + declared, "a", 2)


def test_blank_rows_and_blank_columns_at_the_end_are_passed_over() -> None:
    data = "custom_id,prompt,,\na,a cat,,\n,,,\n , ,,\nb,a dog,,,,\n"
    assert [row[0] for row in _jobs(data)] == ["a", "b"]


@pytest.mark.parametrize(
    ("cell", "ratio"), [("16:09", "16:9"), ("16:09:00", "16:9"), ("01:01:00", "1:1"), ("4:3", "4:3")]
)
def test_a_ratio_that_a_spreadsheet_took_for_a_time_is_a_ratio(cell: str, ratio: str) -> None:
    assert [row[1]["aspect_ratio"] for row in _jobs(f"prompt,aspect_ratio,n\na,{cell},1.0\n")] == [ratio]


def _any(data: bytes, name: str = "-", **rules: Any) -> PreparedFile:
    return read(name, default_provider="bloom", providers={"bloom"}, stdin=io.BytesIO(data), rules=RowRules(**rules))


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    "text", ["prompt,n\r\nein Caf\u00e9 \U0001f600,2\r\n", '{"prompt": "ein Caf\u00e9 \U0001f600", "n": 2}\n']
)
def test_a_file_with_a_byte_order_mark_is_read_in_its_encoding(codec: str, text: str) -> None:
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(codec, b"")
    data = mark + text.encode(codec)
    with _any(data) as prepared:
        assert prepared.faults == []
        (row,) = prepared.rows()
        assert json.loads(row.request) == {"prompt": "ein Caf\u00e9 \U0001f600", "n": 2}
        assert prepared.sha256 == hashlib.sha256(data).hexdigest()


def test_an_encoding_that_is_named_is_read_and_its_absence_is_a_fault_that_names_the_option() -> None:
    data = "custom_id;prompt\r\na1;Ein Caf\u00e9 am Flu\u00df \u2014 fr\u00fch\r\n".encode("cp1252")
    with _any(data) as prepared:
        assert "--encoding cp1252" in prepared.faults[0].message
    with _any(data, encoding="cp1252") as prepared:
        (row,) = prepared.rows()
    assert json.loads(row.request)["prompt"] == "Ein Caf\u00e9 am Flu\u00df \u2014 fr\u00fch"


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("klingon", "no encoding 'klingon'"),
        ("base64", "no encoding"),
        ("ascii", "is not ascii: it contains the byte 0xC3, which ascii does not allow there"),
    ],
)
def test_an_encoding_that_does_not_fit_is_refused(encoding: str, words: str) -> None:
    with pytest.raises(PromptFileError, match=words):
        _any("prompt\ncaf\u00e9\n".encode(), encoding=encoding)


def test_a_large_recoded_file_is_read_whole() -> None:
    lines = "".join(f"prompt \u00e4 {number} {'x' * 50}\n" for number in range(5000))
    with _any(f"prompt\n{lines}".encode("utf-16")) as prepared:
        assert (prepared.count, prepared.faults) == (5000, [])
        assert [row.line for row in prepared.rows()][-1] == 5001


def test_a_workbook_is_refused_with_the_remedy() -> None:
    with _any(b"PK\x03\x04\x14\x00\x06\x00") as prepared:
        assert "save the sheet as CSV UTF-8" in prepared.faults[0].message


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_object_by_object(indent: int | None) -> None:
    given = [{"prompt": "a ] mug", "metadata": {"a": [1, {"b": "}"}]}}, {"prompt": "a bowl", "n": 2, "model": None}]
    with _any(json.dumps(given, indent=indent).encode()) as prepared:
        assert (prepared.format, prepared.faults) == ("json", [])
        assert [json.loads(row.request)["prompt"] for row in prepared.rows()] == ["a ] mug", "a bowl"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[{"prompt": "a"},\n {"prompt": "b"', 2, "breaks off"),
        ('[{"prompt": "a"},\n {"prompt": b}]', 2, "jq -c"),
        ('[{"prompt": "a", "prompt": "b"}]', 1, "a key twice"),
        ("[1]", 1, "is not a JSON object"),
        ("[]", 1, "holds no prompts"),
        ('{"custom_id": "r1", "url": "/v1/images", "body": {"prompt": "a"}}', 1, "OpenAI's batch format"),
    ],
)
def test_json_that_is_no_list_of_rows_is_a_fault_of_its_line(text: str, line: int, words: str) -> None:
    with _any(text.encode()) as prepared:
        (fault,) = prepared.faults
    assert fault.line == line
    assert words in fault.message


@pytest.mark.parametrize(
    ("line", "is_prompt"),
    [
        ("// sample prompt file", False),
        ("# a comment", False),
        ('"a unicorn" -n4 -H512', False),
        ("a unicorn --ar 16:9", False),
        ("#sunset at the beach", True),
        ("a mid-century chair, 3-D", True),
        ("a well--lit room", True),
    ],
)
def test_comments_and_options_in_a_text_file_are_not_bought_as_prompts(line: str, is_prompt: bool) -> None:  # noqa: FBT001
    with read(
        "-", format="txt", default_provider="bloom", providers={"bloom"}, stdin=io.BytesIO(f"a mug\n{line}\n".encode())
    ) as prepared:
        assert [fault.line for fault in prepared.faults] == ([] if is_prompt else [2])
