"""What a server says of a body is believed only as far as the body shows it: no whole picture is lost to a header."""

import asyncio
import gzip
import io
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.test_fetch import Respond, failure, fetched, reply
from worker.transport.fetch_errors import UnexpectedReply


def _picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((16, 16), 50).save(file, "PNG")
    return file.getvalue()


PNG = _picture()
BARE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
DEFLATED = {"with its frame": zlib.compress(PNG), "bare": BARE.compress(PNG) + BARE.flush()}


def bytewise(body: bytes, headers: str) -> Respond:
    """Return a responder that sends the first bytes of a body one by one."""

    async def respond(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n".encode())
        for at in range(80):
            writer.write(body[at : at + 1])
            await writer.drain()
        writer.write(body[80:])
        await writer.drain()
        writer.close()

    return respond


def taken(respond: Respond, directory: Path) -> bytes:
    got, _ = fetched(respond, directory)
    with got.spool as spool:
        return spool.rewound().read()


CODINGS = ("gzip", "x-gzip", "deflate", "br", "aws-chunked", "identity, aws-chunked", "utf-8", "binary", "none")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_whole_picture_is_taken_whatever_its_content_encoding_says(tmp_path: Path, coding: str) -> None:
    assert taken(reply(PNG, headers=f"Content-Encoding: {coding}\r\n"), tmp_path) == PNG


@pytest.mark.parametrize("coding", CODINGS)
def test_its_first_bytes_may_come_one_by_one(tmp_path: Path, coding: str) -> None:
    assert taken(bytewise(PNG, f"Content-Encoding: {coding}\r\n"), tmp_path) == PNG


@pytest.mark.parametrize("form", DEFLATED)
def test_a_deflated_picture_is_unpacked_with_and_without_its_frame(tmp_path: Path, form: str) -> None:
    assert taken(reply(DEFLATED[form], headers="Content-Encoding: deflate\r\n"), tmp_path) == PNG


@pytest.mark.parametrize("coding", ["gzip, identity", "identity,gzip", " GZIP ,"])
def test_a_layer_that_is_none_hides_no_other(tmp_path: Path, coding: str) -> None:
    assert taken(reply(gzip.compress(PNG), headers=f"Content-Encoding: {coding}\r\n"), tmp_path) == PNG


def test_a_head_of_many_fields_loses_no_picture(tmp_path: Path) -> None:
    assert taken(reply(PNG, headers="".join(f"Set-Cookie: a{n}=b\r\n" for n in range(500))), tmp_path) == PNG


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("203 Non-Authoritative Information", ""),
        ("206 Partial Content", f"Content-Range: bytes 0-{len(PNG) - 1}/{len(PNG)}\r\n"),
    ],
)
def test_a_whole_picture_is_taken_under_another_success(tmp_path: Path, status: str, headers: str) -> None:
    assert taken(reply(PNG, status=status, headers=headers), tmp_path) == PNG


@pytest.mark.parametrize("given", ["", "bytes 0-9/100", "bytes 1-99/100", "bytes 0-99/*", "bytes */100"])
def test_a_part_of_a_picture_is_not_taken_for_the_whole(tmp_path: Path, given: str) -> None:
    part = reply(PNG, status="206 Partial Content", headers=f"Content-Range: {given}\r\n")
    assert isinstance(failure(part, tmp_path), UnexpectedReply)


def test_a_picture_in_several_gzip_files_is_one_picture(tmp_path: Path) -> None:
    body = gzip.compress(PNG[:50]) + gzip.compress(PNG[50:])
    assert taken(bytewise(body, "Content-Encoding: gzip\r\n"), tmp_path) == PNG
