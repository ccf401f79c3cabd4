"""Workbooks: their first visible sheet is read as a CSV file would be, with faults by row; a hostile one is refused."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from producer.prompts import PreparedFile, read, workbook_file
from producer.prompts import workbook as reading
from tests.support.workbooks import workbook

NUMBER = '<c r="@"><v>{}</v></c>'
TIME = '<c r="@" s="1"><v>0.6729166666666667</v></c>'
LONG_TIME = '<c r="@" s="2"><v>0.0423611111111111</v></c>'
HEAD = ("custom_id", "provider", "prompt", "n", "aspect_ratio")


def _read(data: bytes) -> PreparedFile:
    return read("-", default_provider=None, providers={"bloom", "getimg"}, stdin=io.BytesIO(data))


def _faults(data: bytes) -> list[tuple[int, str]]:
    with _read(data) as prepared:
        return [(fault.line, fault.message) for fault in prepared.faults]


def test_texts_numbers_times_and_gaps_are_read_as_a_person_typed_them(tmp_path: Path) -> None:
    inline = '<c r="@" t="inlineStr"><is><t>a tram_x000A_at night</t></is></c>'
    formula = '<c r="@" t="str"><f>A1&amp;B1</f><v>a &lt;bowl&gt;</v></c>'
    made = workbook(
        {
            2: HEAD,
            3: ("a", "bloom", "a harbour & mug", NUMBER.format(2), TIME),
            4: ("", " ", ""),
            7: ("b", "bloom", inline, "", LONG_TIME),
            9: ("c", "bloom", formula),
        }
    )
    file = tmp_path / "prompts.xlsx"
    file.write_bytes(made)
    with read(file, default_provider=None, providers={"bloom"}) as prepared:
        assert (prepared.format, prepared.faults, prepared.count) == ("xlsx", [], 3)
        assert prepared.sha256 == hashlib.sha256(made).hexdigest()
        found = [(row.line, row.custom_id, json.loads(row.request)) for row in prepared.rows()]
    asked = [(line, name, given["prompt"], given.get("n", 1), given.get("aspect_ratio")) for line, name, given in found]
    assert asked == [
        (3, "a", "a harbour & mug", 2, "16:9"),
        (7, "b", "a tram\nat night", 1, "1:1"),
        (9, "c", "a <bowl>", 1, None),
    ]


def test_faults_name_the_row_of_the_sheet() -> None:
    error = '<c r="@" t="e"><f>1/0</f><v>#DIV/0!</v></c>'
    made = workbook(
        {1: HEAD, 5: ("a", "nobody", "x"), 6: ("b", "bloom", error), 8: ("c", "bloom", "x", NUMBER.format("1.5"))}
    )
    (first, unknown), (second, failed), (third, _) = _faults(made)
    assert (first, second, third) == (5, 6, 8)
    assert "must be one of" in unknown
    assert failed == "has a formula that failed: #DIV/0!"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (b"PK\x03\x04 and no more", "save the sheet as CSV UTF-8"),
        (workbook({1: HEAD}), "holds a header but no rows"),
        (workbook({}), "holds a header but no rows"),
        (workbook({1: HEAD}, book="<workbook"), "cannot be read"),
        (workbook({1: HEAD}, book="<workbook/>"), "no visible sheet"),
        (workbook({}, strings='<!DOCTYPE x [<!ENTITY a "aaaa">]><sst>&a;</sst>'), "declares a document type"),
        (
            workbook({}, sheet='<worksheet><row r="1"><c r="A0x"><v>1</v></c></row></worksheet>'),
            "names a cell that no sheet has",
        ),
        (
            workbook({}, sheet='<worksheet><row r="1"><c r="ZZZ1"><v>1</v></c></row></worksheet>'),
            "names a cell that no sheet has",
        ),
        (workbook({}, sheet='<worksheet><row r="1"><c r="A1" t="s"><v>x</v></c></row></worksheet>'), "cannot be read"),
        (workbook({1: ('<c r="@" s="1"><v>INF</v></c>',)}), "cannot be read"),
    ],
    # Without names, the time in the bytes is part of each: processes that collect in other seconds differ.
    ids=["cut", "header", "empty", "torn", "no sheet", "entity", "no place", "far place", "no string", "no number"],
)
def test_a_workbook_that_is_broken_or_hostile_is_one_fault(made: bytes, words: str) -> None:
    ((line, message),) = _faults(made)
    assert (line, words in message) == (1, True), message


def test_another_zip_is_told_apart() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("content.xml", "<x/>")
    ((_, message),) = _faults(file.getvalue())
    assert "no XLSX workbook" in message


@pytest.mark.parametrize(
    ("where", "bound"),
    [(reading, "_MOST_TEXT_BYTES"), (reading, "_MOST_SHEET_BYTES"), (workbook_file, "MOST_FILE_BYTES")],
)
def test_a_workbook_that_expands_beyond_its_bounds_is_refused(
    where: ModuleType, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workbook({1: HEAD, **dict.fromkeys(range(2, 2000), ("a", "bloom", "x" * 1000))})
    monkeypatch.setattr(where, bound, 1000)
    ((_, message),) = _faults(made)
    assert "too large" in message


def test_a_row_longer_than_a_record_may_be_is_a_fault() -> None:
    made = workbook({1: ("provider", "prompt"), 2: ("bloom", "x" * 2000), 3: ("bloom", "short")})
    with read(
        "-", default_provider=None, providers={"bloom"}, stdin=io.BytesIO(made), max_record_bytes=1000
    ) as prepared:
        assert [(fault.line, "longer than 1000" in fault.message) for fault in prepared.faults] == [(2, True)]
