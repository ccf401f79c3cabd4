"""References that are local files: read where they may be, typed by their bytes, refused in words everywhere else."""

import base64
import io
import json
import os
from pathlib import Path

import pytest

from producer.prompts import PreparedFile, read, read_rows
from shared import catalog
from shared.prompt_rows.references import LocalFiles
from shared.requests import GenerationRequest

_PNG = b"\x89PNG\r\n\x1a\n picture"
_KINDS = {
    "png": _PNG,
    "jpeg": b"\xff\xd8\xff\xe0 picture",
    "webp": b"RIFF\x10\0\0\0WEBPVP8 ",
    "gif": b"GIF89a picture",
}
_LINK = "https://x.example/a.png"


def _row(*references: str, provider: str = "openrouter") -> str:
    return json.dumps({"prompt": "a cat", "provider": provider, "model": "m/x", "references": references})


def _read(path: Path, text: str, *, local_files: bool = True, max_record_bytes: int = 2**20) -> PreparedFile:
    path.write_text(text)
    return read(
        path,
        default_provider=None,
        providers=catalog.names(),
        local_files=local_files,
        max_record_bytes=max_record_bytes,
    )


def _references(prepared: PreparedFile) -> list[tuple[str, ...]]:
    assert prepared.faults == []
    return [GenerationRequest.model_validate_json(row.request).references for row in prepared.rows()]


def _fault(prepared: PreparedFile) -> str:
    (fault,) = prepared.faults
    assert fault.field == "references"
    return fault.message


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("kind", _KINDS)
def test_a_file_is_typed_by_its_bytes_whatever_its_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "cat.dat").write_bytes(_KINDS[kind])
    with _read(tmp_path / "a.jsonl", _row("cat.dat")) as prepared:
        assert _references(prepared) == [(_url(kind, _KINDS[kind]),)]


def test_paths_are_relative_to_the_prompt_file_and_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a cat.png").write_bytes(_PNG)
    absolute = str(tmp_path / "pictures" / "a cat.png")
    with _read(tmp_path / "a.jsonl", _row("pictures/a cat.png", _LINK, absolute, "HTTPS://x.example/b")) as prepared:
        inline = _url("png", _PNG)
        assert _references(prepared) == [(inline, _LINK, inline, "HTTPS://x.example/b")]


def test_a_csv_cell_may_be_a_json_list_for_paths_with_spaces(tmp_path: Path) -> None:
    (tmp_path / "a cat.png").write_bytes(_PNG)
    (tmp_path / "dog.png").write_bytes(_PNG)
    text = 'prompt,provider,model,references\nx,getimg,m,"[""a cat.png"",""dog.png""]"\ny,getimg,m,dog.png|dog.png\n'
    with _read(tmp_path / "a.csv", text) as prepared:
        assert _references(prepared) == [(_url("png", _PNG),) * 2] * 2


def test_a_file_may_be_larger_than_a_record_of_the_prompt_file(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(_PNG + bytes(2**21))
    with _read(tmp_path / "a.jsonl", _row("cat.png")) as prepared:
        assert len(_references(prepared)[0][0]) > 2**21
    inline = _row(_url("png", _PNG + bytes(2**20)))
    with _read(tmp_path / "b.jsonl", inline) as prepared:
        assert [fault.message for fault in prepared.faults] == ["is longer than 1048576 bytes"]


def test_a_file_of_ten_mebibytes_survives_the_way_to_the_worker_and_a_byte_more_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(_PNG.ljust(10 * 2**20, b"\0"))
    with _read(tmp_path / "a.jsonl", _row("cat.png", provider="getimg")) as prepared:
        ((url,),) = _references(prepared)
    assert len(base64.b64decode(url.partition(",")[2])) == 10 * 2**20
    (tmp_path / "cat.png").write_bytes(_PNG.ljust(10 * 2**20 + 1, b"\0"))
    with _read(tmp_path / "a.jsonl", _row("cat.png", provider="getimg")) as prepared:
        assert _fault(prepared) == "item 1 has more than 10485760 bytes, the limit of getimg"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("missing.png", "item 2 is no file; a path is relative to the prompt file's folder"),
        (".", "item 2 is no file"),
        ("pipe", "item 2 is no file"),
        ("notes.txt", "item 2 is no PNG, JPEG, WebP or GIF image; OpenRouter takes no other"),
        ("empty.png", "item 2 is no PNG"),
        ("file:cat.png", "item 2 is a file URL; write the path alone"),
        ("FILE:///cat.png", "item 2 is a file URL"),
        ("C:\\cat.png", "item 2 is no file"),
        ("x" * 5000, "item 2 "),
    ],
)
def test_what_cannot_be_read_as_an_image_is_a_fault_that_does_not_name_it(
    tmp_path: Path, reference: str, words: str
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe")
    with _read(tmp_path / "a.jsonl", _row(_LINK, reference)) as prepared:
        message = _fault(prepared)
    assert message.startswith(words)
    assert reference == "." or reference not in message


def test_a_gif_is_refused_where_the_provider_takes_none(tmp_path: Path) -> None:
    (tmp_path / "cat.gif").write_bytes(_KINDS["gif"])
    with _read(tmp_path / "a.jsonl", _row("cat.gif", provider="getimg")) as prepared:
        assert _fault(prepared) == "item 1 is no PNG, JPEG or WebP image; getimg takes no other"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"provider": "bloom"}, "not a URL or a file (Bloom)"),
        ({"provider": "banatie"}, "not a URL or a file (Banatie)"),
        ({"provider": "posteverywhere"}, "PostEverywhere has no references; leave it out"),
    ],
)
def test_a_provider_that_takes_no_files_says_what_it_takes(tmp_path: Path, row: dict[str, str], words: str) -> None:
    (tmp_path / "cat.png").write_bytes(_PNG)
    with _read(tmp_path / "a.jsonl", json.dumps({"prompt": "x", "references": ["cat.png"], **row})) as prepared:
        assert words in _fault(prepared)


def test_a_program_gets_no_local_file_read_unless_it_asks(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(_PNG)
    words = "item 1 is a local file, which only the command line reads; give a URL"
    with _read(tmp_path / "a.jsonl", _row("cat.png"), local_files=False) as prepared:
        assert _fault(prepared) == words
    row = {"prompt": "x", "model": "m/x", "references": [str(tmp_path / "cat.png")]}
    with read_rows([row], default_provider="openrouter", providers=catalog.names()) as prepared:
        assert _fault(prepared) == words


def test_an_alias_of_banatie_is_no_local_file() -> None:
    row = {"prompt": "x", "references": ["@hero"]}
    with read_rows([row], default_provider="banatie", providers=catalog.names()) as prepared:
        assert _references(prepared) == [("@hero",)]


def test_standard_input_reads_files_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cat.png").write_bytes(_PNG)
    monkeypatch.chdir(tmp_path)
    with read(
        "-",
        format="jsonl",
        default_provider=None,
        providers=catalog.names(),
        stdin=io.BytesIO(_row("cat.png").encode()),
        local_files=True,
    ) as prepared:
        assert _references(prepared) == [(_url("png", _PNG),)]


def test_local_files_of_one_prompt_file_are_bounded_together(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(_PNG)
    request = GenerationRequest(prompt="x", model="m/x", references=("cat.png",))
    provider = catalog.get("openrouter")
    files = LocalFiles(tmp_path, total_max_chars=len(_url("png", _PNG)) + 5)
    assert files.resolve(request, provider)[1] == []
    (fault,) = files.resolve(request, provider)[1]
    assert fault.message == "item 1 is one local file too many for this prompt file; upload them and give URLs"
