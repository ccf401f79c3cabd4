"""A compressed answer is read alike whether it came whole, broke off, is damaged behind its text, or was kept."""

import base64
import gzip
import io
import json
import zlib

import anyio
import anyio.lowlevel
import pytest

from tests.support.raw_server import Peer, http, serving
from worker import event_loop
from worker.providers.answer_blocks import blocks
from worker.providers.inline_answer import END, values
from worker.transport.inflater import Inflater
from worker.transport.paid_post import Lost, PaidPost, boot_clock
from worker.transport.undone import undone

TEXT = json.dumps({"data": [{"url": f"https://cdn.example/{n}"} for n in range(50)]}).encode()
BARE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PACKED = {"gzip": gzip.compress(TEXT), "deflate": zlib.compress(TEXT), "bare": BARE.compress(TEXT) + BARE.flush()}
MOST = 2**20
ENDS = {
    "longer": lambda body: http("200 OK", body).replace(b"content-length: ", b"content-length: 9"),
    "no last chunk": lambda body: (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + f"{len(body):x}\r\n".encode() + body + b"\r\n"
    ),
}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_answer_that_broke_off_behind_its_text_is_undone_like_a_whole_one(
    coding: str,
    end: str,
    named: bool,  # noqa: FBT001 - whether a header names the coding
) -> None:
    async def answer(peer: Peer) -> None:
        said = f"HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\n".encode() if named else b"HTTP/1.1 200 OK\r\n"
        await peer.answer(ENDS[end](PACKED[coding]).replace(b"HTTP/1.1 200 OK\r\n", said))
        if end == "a reset":
            await anyio.lowlevel.checkpoint()
            peer.reset_on_close()

    async def once() -> object:
        post = PaidPost(timeout_seconds=5, connect_seconds=5)
        async with serving(answer) as server:
            try:
                return await post.send(server.url, headers={}, json={}, send_before=boot_clock() + 60)
            finally:
                await post.close()

    lost = event_loop.run(once)
    assert isinstance(lost, Lost)
    assert (lost.status, lost.body) == (200, TEXT)


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("cut", [0, 1, 4, 8])
def test_what_is_cut_or_damaged_behind_the_text_keeps_the_text(cut: int, kind: str) -> None:
    coding = "deflate" if kind == "bare" else kind
    body = PACKED[kind]
    tail = {"gzip": 8, "deflate": 4, "bare": 0}[kind]
    assert undone(body[: len(body) - min(cut, tail)], coding, max_bytes=MOST) == TEXT
    assert undone(body + b"more", coding, max_bytes=MOST) == TEXT


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_a_wrong_checksum_loses_nothing(kind: str) -> None:
    wrong = PACKED[kind][:-4] + b"\0\0\0\0"
    assert undone(wrong, kind, max_bytes=MOST) == TEXT
    assert undone(wrong, "", max_bytes=MOST) == TEXT


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_damage_inside_keeps_what_comes_before_it(kind: str) -> None:
    """Of a receipt that is no whole JSON, what can be seen still helps a person."""
    body = bytearray(PACKED[kind])
    body[len(body) // 2] ^= 0xFF
    assert undone(bytes(body), kind, max_bytes=MOST)[:20] == TEXT[:20]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip", "", "br"])
@pytest.mark.parametrize("plain", [TEXT, b"", b"x marks the spot", b"\x1f\x8b", b"<html>no</html>"])
def test_what_is_not_compressed_stays_as_it_is(plain: bytes, coding: str) -> None:
    assert undone(plain, coding, max_bytes=MOST) == plain


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"a" * 5_000_000, mtime=0), gzip.compress(b"a" * 5_000_000)[:-4] + b"\0\0\0\0"],
    ids=["whole", "checksum"],
)
def test_what_it_comes_to_is_bounded(body: bytes) -> None:
    assert undone(body, "gzip", max_bytes=1000) == b"a" * 1000


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_images_before_a_wrong_checksum_are_found_in_an_answer_that_carries_them(kind: str) -> None:
    picture = base64.b64encode(b"\x89PNG" + bytes(5000)).decode()
    text = json.dumps({"data": [{"b64_json": picture}], "usage": {"cost": 0.04}}).encode()
    packed = gzip.compress(text) if kind == "gzip" else zlib.compress(text)
    found = list(values(io.BytesIO(packed[:-4] + b"\0\0\0\0"), "data.[].b64_json", beside="usage"))
    assert [path for path, _ in found].count("data.[].b64_json") == 1
    assert found[-1] == (END, True)


SEVERAL = gzip.compress(TEXT[:100]) + gzip.compress(b"") + gzip.compress(TEXT[100:])


@pytest.mark.parametrize("behind", [b"", b"\0" * 20, b"<!-- cached -->"])
def test_several_gzip_files_one_behind_another_are_one_answer(behind: bytes) -> None:
    assert undone(SEVERAL + behind, "gzip", max_bytes=MOST) == TEXT
    assert undone(SEVERAL + behind, "", max_bytes=MOST) == TEXT
    assert b"".join(blocks(io.BytesIO(SEVERAL + behind))) == TEXT


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
@pytest.mark.parametrize("most", [0, 1, 50])
def test_several_gzip_files_are_undone_in_pieces_of_any_size(piece: int, most: int) -> None:
    inflater, found = Inflater(), b""
    for at in range(0, len(SEVERAL), piece):
        fresh = SEVERAL[at : at + piece]
        while fresh:
            found += inflater.decompress(fresh, most)
            fresh = inflater.unconsumed_tail
    while left := inflater.flush():
        found += left
    assert found == TEXT


@pytest.mark.parametrize(
    "damage", [b"\x1f\x8b\xff", gzip.compress(TEXT, mtime=0)[:10], b"\x1f"], ids=["magic", "head", "byte"]
)
def test_what_stands_before_a_damaged_gzip_file_is_kept(damage: bytes) -> None:
    damaged = gzip.compress(TEXT[:100]) + damage
    assert undone(damaged, "gzip", max_bytes=MOST) == TEXT[:100]
    assert b"".join(blocks(io.BytesIO(damaged))) == TEXT[:100]
