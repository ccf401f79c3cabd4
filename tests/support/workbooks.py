"""Workbooks as spreadsheets write them, made by hand: only what a test needs of the format."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

_NS: Final = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_BOOK: Final = (
    f'<workbook {_NS} xmlns:r="{_RELS}"><sheets><sheet name="hidden" sheetId="1" state="hidden" r:id="rId1"/>'
    '<sheet name="prompts" sheetId="2" r:id="rId2"/></sheets></workbook>'
)
_LINKS: Final = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Target="worksheets/sheet1.xml"/>'
    '<Relationship Id="rId2" Target="/xl/worksheets/sheet2.xml"/></Relationships>'
)
STYLES: Final = (
    f'<styleSheet {_NS}><numFmts><numFmt numFmtId="164" formatCode="[h]:mm"/></numFmts>'
    '<cellStyleXfs><xf numFmtId="20"/>'
    '</cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="20"/><xf numFmtId="164"/></cellXfs></styleSheet>'
)


def workbook(rows: Mapping[int, Sequence[str]], **parts: str) -> bytes:
    """Return a workbook whose visible sheet has these rows: row number -> cells, as `text`, `raw` or "" give them.

    `parts` replace whole parts: `sheet`, `strings`, `styles`, `book`.
    """
    texts: list[str] = []
    written = "".join(f'<row r="{number}">{_cells(number, cells, texts)}</row>' for number, cells in rows.items())
    strings = f"<sst {_NS}>" + "".join(f"<si>{one}</si>" for one in texts) + "</sst>"
    found = {
        "xl/workbook.xml": parts.get("book", _BOOK),
        "xl/_rels/workbook.xml.rels": _LINKS,
        "xl/sharedStrings.xml": parts.get("strings", strings),
        "xl/styles.xml": parts.get("styles", STYLES),
        "xl/worksheets/sheet1.xml": f"<worksheet {_NS}><sheetData/></worksheet>",
        "xl/worksheets/sheet2.xml": parts.get(
            "sheet", f"<worksheet {_NS}><sheetData>{written}</sheetData></worksheet>"
        ),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in found.items():
            archive.writestr(name, body)
    return file.getvalue()


def _cells(row: int, cells: Sequence[str], texts: list[str]) -> str:
    found = []
    for index, cell in enumerate(cells):
        place = f"{chr(ord('A') + index)}{row}"
        if cell.startswith("<"):
            found.append(cell.replace("@", place))
        elif cell:
            texts.append(f'<r><t xml:space="preserve">{escape(cell)}</t></r><rPh><t>aside</t></rPh>')
            found.append(f'<c r="{place}" t="s"><v>{len(texts) - 1}</v></c>')
    return "".join(found)
