"""Prompt files that are right: every column of every format arrives, once, in order."""

import hashlib
import io
import json
from collections.abc import Collection
from pathlib import Path

import pytest

from producer.prompts import Format, PreparedFile, PreparedRow, PromptFileError, read, read_rows
from producer.prompts.spool import PromptSpool
from shared import catalog
from shared.requests import GenerationRequest

_BRAND = "0b8f7f9e-4f2b-4c5d-8a1e-0123456789ab"
_BOTH = {"bloom", "getimg"}


def _read(
    data: bytes | str,
    file_format: Format = "auto",
    default: str | None = "bloom",
    providers: Collection[str] = _BOTH,
) -> PreparedFile:
    raw = data.encode() if isinstance(data, str) else data
    return read("-", format=file_format, default_provider=default, providers=providers, stdin=io.BytesIO(raw))


def _rows(data: bytes | str, file_format: Format = "auto", default: str | None = "bloom") -> list[PreparedRow]:
    with _read(data, file_format, default) as prepared:
        assert prepared.faults == []
        rows = list(prepared.rows())
        assert prepared.count == len(rows) == prepared.providers.total()
        return rows


def _requests(data: bytes | str, file_format: Format = "auto") -> list[GenerationRequest]:
    return [GenerationRequest.model_validate_json(row.request) for row in _rows(data, file_format)]


def test_every_csv_column_arrives() -> None:
    data = (
        "custom_id,prompt,provider,model,aspect_ratio,size,n,references,priority,options.brandSessionId\n"
        f'hero,"a cat, sleeping",bloom,fast,16:9,4K,3,{_BRAND}|{_BRAND} {_BRAND},-5,{_BRAND}\n'
    )
    (row,) = _rows(data, default=None)
    assert (row.line, row.custom_id, row.provider, row.priority) == (2, "hero", "bloom", -5)
    request = GenerationRequest.model_validate_json(row.request)
    assert request == GenerationRequest(
        prompt="a cat, sleeping",
        model="fast",
        aspect_ratio="16:9",
        size="4K",
        n=3,
        references=(_BRAND, _BRAND, _BRAND),
        options={"brandSessionId": _BRAND},
    )
    assert row.request == request.canonical()
    assert row.fingerprint == request.fingerprint("bloom")


def test_every_json_key_arrives() -> None:
    line = {
        "custom_id": "hero",
        "prompt": "a cat",
        "provider": "getimg",
        "model": "seedream-5-lite",
        "output_format": "png",
        "references": ["https://x.example/a.png"],
        "priority": 7,
        "seed": None,
    }
    (row,) = _rows(json.dumps(line))
    assert (row.line, row.custom_id, row.provider, row.priority) == (1, "hero", "getimg", 7)
    assert json.loads(row.request) == {key: line[key] for key in ("prompt", "model", "output_format", "references")}


def test_a_text_file_is_one_prompt_a_line_as_it_stands() -> None:
    assert [r.prompt for r in _requests('a "cat", sleeping\n\n  {a dog}  \r\nlast', "txt")] == [
        'a "cat", sleeping',
        "  {a dog}  ",
        "last",
    ]


def test_a_row_without_an_id_gets_one_from_its_line() -> None:
    data = 'prompt,n\n"a\ncat",1\n\na dog,2\n'
    assert [(row.line, row.custom_id) for row in _rows(data)] == [(2, "row-000002"), (5, "row-000005")]
    assert _rows(data) == _rows(data)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_of_both_kinds_are_read_in_every_format(end: str) -> None:
    assert [r.prompt for r in _requests(end.join(("prompt,n", "a,1", "b,2")))] == ["a", "b"]
    assert [r.prompt for r in _requests(end.join(('{"prompt":"a"}', "", '{"prompt":"b"}')))] == ["a", "b"]
    assert [r.prompt for r in _requests(end.join(("a", "b", "")), "txt")] == ["a", "b"]


@pytest.mark.parametrize(("file_format", "head"), [("csv", "prompt\na"), ("jsonl", '{"prompt":"a"}'), ("txt", "a")])
def test_a_utf8_byte_order_mark_is_no_part_of_the_first_line(file_format: Format, head: str) -> None:
    both: tuple[Format, ...] = ("auto", file_format)
    for asked in both if file_format != "txt" else both[1:]:
        assert [r.prompt for r in _requests(b"\xef\xbb\xbf" + head.encode(), asked)] == ["a"]


def test_a_quoted_cell_keeps_its_line_breaks_quotes_and_spaces() -> None:
    (request,) = _requests('prompt,size\n" a ""big"" cat\r\non a mat ",2K\n')
    assert request.prompt == ' a "big" cat\r\non a mat '


def test_columns_of_options_are_json_where_they_look_like_it() -> None:
    data = (
        "prompt,provider,options.a,options.b,options.c,options.d,options.e,options.f\n"
        'x,getimg,true,1.5,"[1,2]","{""k"":null}",NaN,"{broken"\n'
    )
    with _read(data) as prepared:
        # getimg has no options at all: that it names each shows that each was read.
        assert [fault.field for fault in prepared.faults if fault.field != "model"] == [
            f"options.{name}" for name in "abcdef"
        ]
    (row,) = _rows(f'prompt,options\nx,"{{""brandSessionId"":""{_BRAND}""}}"\n')
    assert json.loads(row.request)["options"] == {"brandSessionId": _BRAND}


def test_an_option_may_be_a_dotted_key_in_json_lines_too() -> None:
    flat, nested = _requests(
        json.dumps({"prompt": "a", "options.brandSessionId": _BRAND})
        + "\n"
        + json.dumps({"prompt": "a", "options": {"brandSessionId": _BRAND}})
    )
    assert flat == nested


def test_a_dot_in_an_options_column_is_an_object_inside_it() -> None:
    data = (
        "prompt,provider,model,options.provider.sort,options.provider.only,options.provider.allow_fallbacks\n"
        'x,openrouter,m/x,price,"[""openai""]",false\n'
    )
    with _read(data, providers=catalog.names()) as prepared:
        assert prepared.faults == []
        (row,) = prepared.rows()
    assert json.loads(row.request)["options"] == {
        "provider": {"sort": "price", "only": ["openai"], "allow_fallbacks": False}
    }


def test_an_option_that_holds_text_stays_text_in_csv_though_it_looks_like_a_number() -> None:
    data = (
        "prompt,provider,model,options.resolution,options.user,options.output_compression\nx,openrouter,m/x,512,7,9\n"
    )
    with _read(data, providers=catalog.names()) as prepared:
        assert prepared.faults == []
        (row,) = prepared.rows()
    assert json.loads(row.request)["options"] == {"resolution": "512", "user": "7", "output_compression": 9}


def test_a_callers_own_options_are_left_as_they_are() -> None:
    given = {"prompt": "x", "model": "m/x", "options": {"provider": {"sort": "price"}}, "options.provider.only": ["a"]}
    with read_rows([given], default_provider="openrouter", providers=catalog.names()) as prepared:
        assert prepared.faults == []
    assert given["options"] == {"provider": {"sort": "price"}}


def test_empty_cells_are_absent() -> None:
    (request,) = _requests("prompt,model,n,seed,references,options.brandSessionId\na cat,, ,,,\n")
    assert request == GenerationRequest(prompt="a cat")


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.csv", "prompt\nx", "csv"),
        ("a.CSV", "prompt\nx", "csv"),
        ("a.jsonl", '{"prompt":"x"}', "jsonl"),
        ("a.ndjson", '{"prompt":"x"}', "jsonl"),
        ("a.txt", "{x}", "txt"),
        ("a.data", '\n\n  {"prompt":"x"}', "jsonl"),
        ("prompts", "\nprompt\nx", "csv"),
    ],
)
def test_the_format_follows_the_name_and_else_the_first_character(
    tmp_path: Path, name: str, text: str, found: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with read(path, default_provider="bloom", providers=_BOTH) as prepared:
        assert (prepared.format, prepared.count, prepared.faults) == (found, 1, [])
        assert prepared.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_covers_the_whole_input_even_where_reading_stopped() -> None:
    for data in (
        b"\xff\xfea\0b\0\n\0" * 100,
        b"nonsense\nx\n",
        b"\xef\xbb\xbfprompt\nx\n" + b"y" * 3_000_000,
    ):
        with _read(data) as prepared:
            assert prepared.fault_count
            assert prepared.sha256 == hashlib.sha256(data).hexdigest()


def test_rows_are_counted_by_provider() -> None:
    lines = ['{"prompt":"a"}'] * 3 + ['{"prompt":"a","provider":"getimg","model":"m"}'] * 2
    with _read("\n".join(lines)) as prepared:
        assert prepared.providers == {"bloom": 3, "getimg": 2}


def test_rows_can_be_read_again_and_side_by_side_until_the_file_is_closed() -> None:
    with _read("\n".join(f"prompt {i}" for i in range(50)), "txt") as prepared:
        pairs = list(zip(prepared.rows(), prepared.rows(), strict=True))
        assert all(left == right for left, right in pairs)
        assert [left.line for left, _ in pairs] == list(range(1, 51))
    with pytest.raises(ValueError, match="closed"):
        next(prepared.rows())


def test_rows_survive_the_move_from_memory_to_disk() -> None:
    spool = PromptSpool(memory_bytes=100)
    rows = [PreparedRow(i, f"id-ü-{i}", "bloom", b"x" * i, bytes(32), -i) for i in range(100)]
    for row in rows:
        spool.append(row)
    assert list(spool) == rows
    spool.close()


def test_a_file_with_one_fault_gives_no_rows_at_all() -> None:
    with _read("prompt,n\na,1\nb,99\nc,1\n") as prepared:
        assert (prepared.count, prepared.fault_count) == (2, 1)
        with pytest.raises(PromptFileError, match="has 1 faults; correct them first"):
            prepared.rows()
