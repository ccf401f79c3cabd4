"""Whatever bytes a prompt file holds, reading it gives rows or faults by line, never an exception."""

import io

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from producer.prompts import Format, read
from producer.prompts.text_rows import not_a_prompt
from shared import catalog
from shared.requests import GenerationRequest

_LIMIT = 300
_PROMPTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(str.strip)
_PIECES = {
    "csv": [
        *("prompt", "custom_id", "n", "options.brandSessionId", "options", "provider", "references", "bogus"),
        *("options.provider.sort", "options.resolution", "openrouter", "banatie", "m/x", "price", "512", "@hero"),
        *(",", ",", ",", '"', '""', "\n", "\n", "\r\n", "\r", " ", "|", ";", "\0", "\ufeff"),
        *("a cat", "1", "2K", "bloom", "getimg", "é", "🐈", "{", "[1", "NaN", "9" * 25, "x" * 150),
    ],
    "jsonl": [
        *(
            '{"prompt":',
            '"a cat"',
            '{"prompt":"a"}',
            ",",
            ":",
            "{",
            "}",
            "[",
            "]",
            '"n"',
            '"options"',
            '"seed"',
        ),
        *("1", "-", "1e999", "NaN", "null", "true", '"\\ud800"', '"\\u0000"', "9" * 200, '"custom_id":"x"'),
        *("\n", "\n", "\r\n", "\0", "\ufeff", "é"),
        *('"options.trace.x"', '"provider":"openrouter"', '"model":"m/x"', '"options.provider.only":["x"]'),
        *('{"prompt":"a","custom_id":"x"}\n', '{"prompt":"b","model":"m","provider":"getimg"}\n'),
    ],
    "txt": [
        *(
            "a cat",
            " ",
            "\n",
            "\n",
            "\r\n",
            "\r",
            "\t",
            "\0",
            "\ufeff",
            "é",
            "🐈",
            "\x1b[31m",
            "\u2028",
            "x" * 200,
        ),
    ],
}


def _assert_rows_or_faults(data: bytes, file_format: Format) -> None:
    with read(
        "-",
        format=file_format,
        default_provider="bloom",
        providers=catalog.names(),
        stdin=io.BytesIO(data),
        max_record_bytes=_LIMIT,
    ) as prepared:
        # An array counts its objects, and may stand on one line.
        last = len(data) + 1 if data.lstrip().startswith(b"[") else data.count(b"\n") + 1
        assert bool(prepared.fault_count) == bool(prepared.faults)
        for fault in prepared.faults:
            assert 1 <= fault.line <= last
            assert fault.message.isprintable()
            assert fault.field.isprintable()
            assert len(fault.field) + len(fault.message) < 400
        if prepared.faults:
            return
        rows = list(prepared.rows())
        assert len(rows) == prepared.count > 0
        assert len({row.custom_id for row in rows}) == len(rows)
        assert [row.line for row in rows] == sorted({row.line for row in rows})
        for row in rows:
            request = GenerationRequest.model_validate_json(row.request)
            assert request.canonical() == row.request
            assert request.fingerprint(row.provider) == row.fingerprint
            assert catalog.get(row.provider).check(request) == []


@pytest.mark.parametrize("file_format", ["auto", "csv", "jsonl", "json", "txt"])
@given(data=st.binary(max_size=400))
def test_any_bytes_give_rows_or_faults(file_format: Format, data: bytes) -> None:
    _assert_rows_or_faults(data, file_format)


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "txt"])
@given(draw=st.data())
def test_any_text_of_the_formats_own_pieces_gives_rows_or_faults(file_format: Format, draw: st.DataObject) -> None:
    text = "".join(draw.draw(st.lists(st.sampled_from(_PIECES[file_format]), max_size=40)))
    _assert_rows_or_faults(text.encode(), file_format)
    _assert_rows_or_faults(text.encode(), "auto")


@given(draw=st.data())
def test_any_rows_under_a_sound_header_give_rows_or_faults(draw: st.DataObject) -> None:
    text = "".join(draw.draw(st.lists(st.sampled_from(_PIECES["csv"]), max_size=40)))
    _assert_rows_or_faults(b"prompt,n,custom_id\n" + text.encode(), "csv")


@given(st.lists(_PROMPTS, min_size=1))
def test_prompts_arrive_as_they_were_written_whatever_the_format(prompts: list[str]) -> None:
    assume(not any(map(not_a_prompt, prompts)))
    csv = "prompt\n" + "".join('"' + prompt.replace('"', '""') + '"\n' for prompt in prompts)
    txt = "".join(prompt + "\n" for prompt in prompts)
    files: tuple[tuple[Format, str], ...] = (("csv", csv), ("txt", txt))
    for file_format, data in files:
        with read(
            "-",
            format=file_format,
            default_provider="bloom",
            providers={"bloom"},
            stdin=io.BytesIO(data.encode()),
        ) as prepared:
            assert prepared.faults == []
            found = [GenerationRequest.model_validate_json(row.request).prompt for row in prepared.rows()]
            assert found == prompts
