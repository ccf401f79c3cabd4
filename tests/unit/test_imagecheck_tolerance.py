"""What decoders open passes the check, what is cut never does, and the bytes alone say what they are: for each kind."""

import io
import struct
import time
import zlib
from typing import Any

import pytest
from PIL import Image

from worker.imagecheck import ImageError, ImageFacts, IncompleteImage, NotAnImage, TooManyPixels, Undecidable, check

WIDTH, HEIGHT = 90, 70
NS = b'xmlns="http://www.w3.org/2000/svg"'


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((WIDTH, HEIGHT), 80).convert(mode).save(file, kind, **options)
    return file.getvalue()


def found(content: bytes, **options: Any) -> ImageFacts | ImageError:
    """The facts of an accepted picture, or the error of a refused one."""
    try:
        return check(io.BytesIO(content), **{"declared_type": None, "max_pixels": 10**6, **options})
    except ImageError as error:
        return error


def accepted(content: bytes, **options: Any) -> ImageFacts:
    facts = found(content, **options)
    assert isinstance(facts, ImageFacts), facts
    return facts


def refused(content: bytes, **options: Any) -> ImageError:
    error = found(content, **options)
    assert isinstance(error, ImageError), error
    return error


RASTERS = {
    "png": (encoded("PNG"), "image/png", "png"),
    "jpeg": (encoded("JPEG"), "image/jpeg", "jpg"),
    "progressive jpeg": (encoded("JPEG", progressive=True), "image/jpeg", "jpg"),
    "webp": (encoded("WEBP"), "image/webp", "webp"),
    "lossless webp": (encoded("WEBP", lossless=True), "image/webp", "webp"),
    "gif": (encoded("GIF"), "image/gif", "gif"),
    "animated gif": (
        encoded("GIF", save_all=True, append_images=[Image.new("L", (WIDTH, HEIGHT))]),
        "image/gif",
        "gif",
    ),
    "avif": (encoded("AVIF"), "image/avif", "avif"),
    "bmp": (encoded("BMP"), "image/bmp", "bmp"),
    "bmp of one bit": (encoded("BMP", "1"), "image/bmp", "bmp"),
    "tiff": (encoded("TIFF"), "image/tiff", "tiff"),
    "compressed tiff": (encoded("TIFF", compression="tiff_lzw"), "image/tiff", "tiff"),
}
JPEG, PNG, GIF, WEBP, BMP, AVIF = (RASTERS[name][0] for name in ("jpeg", "png", "gif", "webp", "bmp", "avif"))
SVG = b'<?xml version="1.0"?>\n<svg ' + NS + b' viewBox="0 0 90 69.5"><path d="M0 0h4"/></svg>'


@pytest.mark.parametrize("name", RASTERS)
def test_each_kind_is_known_with_its_own_type_and_extension_whatever_was_declared(name: str) -> None:
    content, content_type, extension = RASTERS[name]
    facts = accepted(content, declared_type="image/svg+xml")
    assert (facts.content_type, facts.extension) == (content_type, extension)
    assert (facts.width, facts.height, facts.attached) == (WIDTH, HEIGHT, False)
    assert accepted(content, decode=True) == facts


@pytest.mark.parametrize("name", RASTERS)
@pytest.mark.parametrize(
    "tail", [b"\0", b"\r\n", b"\0" * 37, b"junk" * 1000, b"<!-- served by cache 7 -->", PNG, JPEG, b"\xff\xd9"]
)
def test_bytes_after_the_end_are_tolerated(name: str, tail: bytes) -> None:
    assert accepted(RASTERS[name][0] + tail) == accepted(RASTERS[name][0])


@pytest.mark.parametrize("name", [*RASTERS, "svg"])
def test_a_picture_cut_at_any_tenth_or_near_its_end_is_never_verified(name: str) -> None:
    content = SVG if name == "svg" else RASTERS[name][0]
    for length in {*(len(content) * tenth // 10 for tenth in range(1, 10)), *range(len(content) - 16, len(content))}:
        assert isinstance(found(content[:length]), ImageError), length
        assert isinstance(found(content[:length], decode=True), ImageError), length


@pytest.mark.parametrize("name", RASTERS)
def test_a_cut_picture_says_what_it_begins_as(name: str) -> None:
    error = refused(RASTERS[name][0][: len(RASTERS[name][0]) // 2])
    assert isinstance(error, IncompleteImage)
    assert error.begins_as is not None
    assert (error.begins_as.content_type, error.begins_as.extension) == RASTERS[name][1:]


def test_a_cut_picture_with_a_whole_one_behind_the_cut_is_never_verified() -> None:
    for content in (PNG, JPEG):  # the other kinds have nothing that would tell
        assert isinstance(found(content[: len(content) // 2] + content), ImageError)


def after_segment(content: bytes, number: int, junk: bytes) -> bytes:
    """Put `junk` behind the JPEG's segment of this number, counted from 0."""
    at = 2
    for _ in range(number + 1):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content[:at] + junk + content[at:]


@pytest.mark.parametrize("junk", [b"\0", b"junk", b"\xff\xff\xff", b"\xff\0ab", b"\0" * 300_000])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_junk_between_the_segments_of_a_jpeg_is_tolerated_and_hides_no_cut(junk: bytes, number: int) -> None:
    content = after_segment(JPEG, number, junk)
    assert accepted(content) == accepted(JPEG)
    for tenth in range(1, 10):
        assert isinstance(found(content[: len(content) * tenth // 10]), ImageError)


def test_junk_in_very_many_places_of_a_jpeg_is_refused_instead_of_walked() -> None:
    content = JPEG[:2] + b"\xff\xfe\0\2\0" * 200_000 + JPEG[2:]
    began = time.monotonic()
    assert isinstance(refused(content), Undecidable)
    assert time.monotonic() - began < 5


def test_a_wrong_checksum_of_a_chunk_that_no_pixel_needs_is_tolerated() -> None:
    text = struct.pack(">I", 3) + b"tEXta\0b" + b"\0\0\0\0"
    assert accepted(PNG[:33] + text + PNG[33:]) == accepted(PNG)


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND"])
def test_a_wrong_checksum_of_a_chunk_that_pixels_need_is_damage(kind: bytes) -> None:
    at = PNG.index(kind)
    length = int.from_bytes(PNG[at - 4 : at], "big")
    broken = bytearray(PNG)
    broken[at + 4 + length] ^= 1
    assert isinstance(refused(bytes(broken)), IncompleteImage)
    renamed = bytearray(PNG)
    renamed[at] ^= 0x20  # the bit that makes a chunk one that may be ignored
    assert isinstance(refused(bytes(renamed)), IncompleteImage)


def test_a_gif_with_a_block_that_nobody_knows_is_accepted_because_it_decodes() -> None:
    assert accepted(GIF[:-1] + b"\0" + GIF[-1:]).kind == "gif"


def test_a_webp_whose_last_chunk_lacks_its_padding_is_accepted() -> None:
    odd = b"EXIF" + struct.pack("<I", 3) + b"odd"
    body = b"VP8X" + struct.pack("<II", 10, 8) + struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    inner = b"WEBP" + body + WEBP[12:] + odd
    assert accepted(b"RIFF" + struct.pack("<I", len(inner)) + inner).width == WIDTH


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\x0a" + b"\x7f" * 50,
        b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 50,
        encoded("JPEG2000"),
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x10mdat12345678",
        BMP[:30] + b"\1" + BMP[31:],
    ],
)
def test_a_kind_that_nothing_here_can_judge_is_known_for_what_it_begins_as(content: bytes) -> None:
    error = refused(content)
    assert isinstance(error, Undecidable)
    assert error.begins_as is not None


def test_an_avif_by_its_compatible_brand_is_one() -> None:
    content = AVIF[:8] + b"mif1" + AVIF[12:]
    assert accepted(content).extension == "avif"


def test_a_bitmap_stored_from_the_top_and_one_of_the_oldest_kind_are_accepted() -> None:
    upside = BMP[:22] + struct.pack("<i", -HEIGHT) + BMP[26:]
    assert accepted(upside).height == HEIGHT
    row = b"\1\2\3\0"
    core = struct.pack("<IHHHH", 12, 1, 2, 1, 24) + row * 2
    oldest = b"BM" + struct.pack("<IHHI", 14 + len(core), 0, 0, 26) + core
    assert (accepted(oldest).width, accepted(oldest).height) == (1, 2)
    assert isinstance(refused(oldest[:-1]), IncompleteImage)


def test_a_tiff_whose_directories_turn_in_a_circle_is_refused_soon() -> None:
    content = RASTERS["tiff"][0]
    at = int.from_bytes(content[4:8], "little")
    after = at + 2 + 12 * int.from_bytes(content[at : at + 2], "little")
    began = time.monotonic()
    assert isinstance(refused(content[:after] + content[4:8] + content[after + 4 :]), Undecidable)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", RASTERS)
def test_the_pixel_cap_holds_for_each_kind(name: str) -> None:
    assert isinstance(refused(RASTERS[name][0], max_pixels=WIDTH * HEIGHT - 1), TooManyPixels)


def test_a_second_opinion_decodes_no_more_than_memory_bears() -> None:
    side = 10_000
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"BAAD", b""), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    assert isinstance(refused(bomb, max_pixels=10**9), Undecidable)


@pytest.mark.parametrize(
    ("root", "size"),
    [
        (b'viewBox="0 0 90 69.5"', (90, 70)),
        (b'viewBox="0,0,90,70" width="100%"', (90, 70)),
        (b'width="90" height="70px"', (90, 70)),
        (b'width="9in" height="70"', (None, None)),
        (b'viewBox="none"', (None, None)),
        (b'viewBox="0 0 0 70"', (None, None)),
        (b'viewBox="0 0 1e9 99999999999999999999"', (None, None)),
        (b"", (None, None)),
    ],
)
def test_a_drawing_is_a_download_with_the_size_that_it_states(root: bytes, size: tuple[int | None, int | None]) -> None:
    facts = accepted(b"<svg " + NS + b" " + root + b"><g/></svg>\n", declared_type="image/png")
    assert facts == ImageFacts("svg", "image/svg+xml", "svg", size[0], size[1], attached=True)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf<svg " + NS + b"/>",
        ("<svg " + NS.decode() + "/>").encode("utf-16"),
        b"<!-- " + b"made by a model " * 3000 + b"-->\n<svg " + NS + b"/>",
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://127.0.0.1:9/svg11.dtd"><svg ' + NS + b"/>",
        b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>',
    ],
)
def test_a_drawing_is_known_by_its_root_whatever_stands_before_it(content: bytes) -> None:
    assert accepted(content).kind == "svg"


BOMB = b'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">' + b"".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">'.encode() for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (BOMB + b"]><svg " + NS + b">&i;</svg>", Undecidable),
        (b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg ' + NS + b">&x;</svg>", Undecidable),
        (b"<svg " + NS + b">" + b"<g>" * 100_000 + b"</g>" * 100_000 + b"</svg>", Undecidable),
        (b"<svg " + NS + b">" + b" " * (17 * 2**20) + b"</svg>", Undecidable),
        (b"<svg " + NS + b"><g></svg>", NotAnImage),
        (b"<svg " + NS + b"/><svg/>", NotAnImage),
        (b"<svg " + NS + b">&nbsp;</svg>", NotAnImage),
    ],
)
def test_a_drawing_that_is_hostile_or_broken_is_refused_soon_as_a_drawing(content: bytes, kind: type) -> None:
    began = time.monotonic()
    error = refused(content)
    assert type(error) is kind
    assert error.begins_as is not None
    assert error.begins_as.attached
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "content",
    [
        b"<html><body><svg " + NS + b"/></body></html>",
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        b'{"error": "<svg>"}',
        b"svg",
    ],
)
def test_a_page_that_only_mentions_a_drawing_is_none(content: bytes) -> None:
    error = refused(content, declared_type="image/svg+xml")
    assert isinstance(error, NotAnImage)
    assert error.begins_as is None
