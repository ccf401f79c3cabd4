import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from worker.imagecheck import ImageError, ImageFacts, IncompleteImage, NotAnImage, TooManyPixels, check

CAP = 10**6
PATIENT = settings(deadline=None, max_examples=200)  # a busy machine is slow, not wrong


def picture(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    noise = Image.effect_noise((width, height), 80)
    return noise.convert(mode)


def encoded(kind: str, *, image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or picture()).save(file, kind, **options)
    return file.getvalue()


def verdict(content: bytes, **options: Any) -> ImageFacts:
    return check(io.BytesIO(content), **{"declared_type": None, "max_pixels": CAP, **options})


def refusal(content: bytes, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        verdict(content, **options)
    return caught.value


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header(width: int = 1, height: int = 1, depth: int = 8, color: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))


PIXELS = chunk(b"IDAT", zlib.compress(b"\0\0"))
END = chunk(b"IEND")
SAMPLES = {
    "png": encoded("PNG"),
    "jpeg": encoded("JPEG"),
    "webp": encoded("WEBP"),
    "webp lossless": encoded("WEBP", lossless=True),
    "gif": encoded("GIF"),
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded("PNG"), ("png", "image/png", "png")),
        (encoded("PNG", image=picture(mode="P")), ("png", "image/png", "png")),
        (encoded("PNG", image=picture(mode="RGBA"), optimize=True), ("png", "image/png", "png")),
        (encoded("PNG", image=picture(mode="I;16")), ("png", "image/png", "png")),
        (encoded("JPEG"), ("jpeg", "image/jpeg", "jpg")),
        (encoded("JPEG", progressive=True, quality=95), ("jpeg", "image/jpeg", "jpg")),
        (encoded("JPEG", restart_marker_blocks=1), ("jpeg", "image/jpeg", "jpg")),
        (encoded("JPEG", image=picture(mode="CMYK"), comment=b"\xff\xd9 in a comment"), ("jpeg", "image/jpeg", "jpg")),
        (encoded("WEBP"), ("webp", "image/webp", "webp")),
        (encoded("WEBP", lossless=True), ("webp", "image/webp", "webp")),
        (encoded("WEBP", image=picture(mode="RGBA"), exif=b"Exif\0\0odd"), ("webp", "image/webp", "webp")),
        (encoded("WEBP", save_all=True, append_images=[picture()]), ("webp", "image/webp", "webp")),
        (encoded("GIF"), ("gif", "image/gif", "gif")),
        (encoded("GIF", save_all=True, append_images=[picture()]), ("gif", "image/gif", "gif")),
    ],
)
def test_a_complete_image_is_known_by_kind_and_size(content: bytes, expected: tuple[str, str, str]) -> None:
    assert verdict(content) == verdict(content, decode=True) == ImageFacts(*expected, 40, 30)


@pytest.mark.parametrize("declared", ["image/png", "text/html; charset=utf-8", "", None])
def test_the_bytes_decide_whatever_type_was_declared(declared: str | None) -> None:
    assert verdict(SAMPLES["jpeg"], declared_type=declared).kind == "jpeg"


@pytest.mark.parametrize(
    ("content", "described"),
    [
        (b"", "an empty file"),
        (b"\n <!DOCTYPE html><title>secret", "an HTML page"),
        (b"\xef\xbb\xbf<html>secret", "an HTML page"),
        (b"<?xml version='1.0'?><Error>secret</Error>", "an XML or HTML document"),
        (b' {"error": "secret"}', "a JSON document"),
        (b"secret", "plain text"),
        (b"%PDF-1.7 secret", "a PDF document"),
        (b"\x00\x00\x00\x18ftypmp42secret", "an MP4 or similar video"),
        (b"<!DOCTYPE html><html><svg>secret</svg></html>", "an HTML page"),
        (b"<?xml version='1.0'?><html><svg>secret</svg></html>", "an XML or HTML document"),
        (b"BMW sells secret cars", "plain text"),
        (b"\x00\x01\x02\x80secret", "data of an unknown kind"),
    ],
)
def test_what_is_no_image_is_described_and_never_quoted(content: bytes, described: str) -> None:
    error = refusal(content, declared_type="image/png")
    assert isinstance(error, NotAnImage)
    assert error.code == "result_invalid"
    assert str(error).startswith(described)
    assert not content or f"of {len(content)} bytes" in str(error)
    assert str(error).endswith("declared as image/png")
    assert "secret" not in str(error)
    assert error.begins_as is None


def test_a_declared_type_that_is_not_one_is_not_repeated() -> None:
    assert "secret" not in str(refusal(b"text", declared_type="image/png\nsecret"))


@pytest.mark.parametrize("kind", SAMPLES)
def test_an_image_cut_anywhere_is_never_taken_for_a_complete_one(kind: str) -> None:
    content = SAMPLES[kind]
    for length in range(len(content)):
        error = refusal(content[:length])
        assert isinstance(error, IncompleteImage if length >= 12 else ImageError)


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_pixel_cap_is_exact_and_not_worth_a_retry(kind: str) -> None:
    assert verdict(SAMPLES[kind], max_pixels=1200).width == 40
    error = refusal(SAMPLES[kind], max_pixels=1199)
    assert isinstance(error, TooManyPixels)
    assert (error.code, error.retryable) == ("result_too_large", False)


@pytest.mark.parametrize(
    "content",
    [
        png(PIXELS, END),
        png(header(), END),
        png(header(width=50, height=50), PIXELS, chunk(b"tEXt", b"a\0b"), PIXELS, END),
        png(header(width=50, height=50), chunk(b"BAAD"), PIXELS, END),
        png(header(width=0), PIXELS, END),
        png(header(width=2**31), PIXELS, END),
        png(header(depth=3), PIXELS, END),
        png(header(color=5), PIXELS, END),
        png(chunk(b"IHDR", b"short"), PIXELS, END),
    ],
)
def test_a_png_that_breaks_the_rules_of_its_chunks_and_does_not_decode_is_no_image(content: bytes) -> None:
    error = refusal(content, max_pixels=2**40)
    assert isinstance(error, NotAnImage)
    assert error.begins_as is not None
    assert error.begins_as.kind == "png"


@pytest.mark.parametrize(
    "content",
    [
        png(header(), PIXELS, chunk(b"PLTE", b"abc"), END),
        png(header(), PIXELS, chunk(b"tEXt", b"a\0b"), PIXELS, END),
        png(header(), chunk(b"BAAD"), PIXELS, END),
    ],
)
def test_a_png_that_breaks_a_rule_of_its_chunks_is_accepted_where_every_pixel_decodes(content: bytes) -> None:
    assert verdict(content) == ImageFacts("png", "image/png", "png", 1, 1)


def test_the_smallest_png_passes() -> None:
    assert verdict(png(header(), PIXELS, END)).width == 1


@pytest.mark.parametrize("content", [SAMPLES["jpeg"][:2] + b"\xff\xd9", SAMPLES["jpeg"][:-2] + SAMPLES["jpeg"]])
def test_a_jpeg_without_pixels_or_with_a_second_image_inside_is_refused(content: bytes) -> None:
    assert isinstance(refusal(content), ImageError)


def test_a_thumbnail_inside_a_cut_jpeg_does_not_pass_for_its_end() -> None:
    exif = Image.Exif()
    exif[0x010E] = "thumbnail: " + encoded("JPEG").decode("latin-1")
    content = encoded("JPEG", image=picture(400, 300), exif=exif)
    assert verdict(content).width == 400
    assert isinstance(refusal(content[: len(content) // 2]), IncompleteImage)


@pytest.mark.parametrize(
    "content",
    [
        png(header(), *[chunk(b"tEXt")] * 200_000, PIXELS, END),
        b"\xff\xd8" + b"\xff" * 3_000_000,
        SAMPLES["jpeg"][:-2] + SAMPLES["jpeg"][SAMPLES["jpeg"].index(b"\xff\xda") : -2] * 1100 + b"\xff\xd9",
        SAMPLES["gif"][:-1] + b"!\xfe" + b"\x01x" * 1_000_000 + b"\x00;",
    ],
)
def test_a_file_of_very_many_tiny_pieces_is_refused_instead_of_walked(content: bytes) -> None:
    assert isinstance(refusal(content), NotAnImage)


def test_a_full_decode_finds_damage_that_has_the_right_structure() -> None:
    hollow = png(header(width=50, height=50), chunk(b"IDAT", zlib.compress(b"\0\0")), END)
    assert verdict(hollow).width == 50
    assert isinstance(refusal(hollow, decode=True), IncompleteImage)


def test_a_full_decode_keeps_to_our_pixel_cap_and_not_to_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for kind in ("png", "jpeg", "gif"):
        assert verdict(SAMPLES[kind], decode=True).width == 40
    assert isinstance(refusal(SAMPLES["webp"], decode=True), TooManyPixels)  # its decoder has no other way


def test_memory_stays_flat_because_a_false_length_is_seen_before_it_is_read() -> None:
    lying = png(header()) + struct.pack(">I4s", 2**31 - 1, b"IDAT")
    assert "2147483647 bytes are missing" in str(refusal(lying))


@PATIENT
@given(cut=st.integers(min_value=0, max_value=len(SAMPLES["png"]) - 1))
def test_any_truncation_of_a_png_is_found(cut: int) -> None:
    refusal(SAMPLES["png"][:cut])


@PATIENT
@given(bit=st.integers(min_value=0, max_value=8 * len(SAMPLES["png"]) - 1))
def test_any_flipped_bit_of_a_png_is_found(bit: int) -> None:
    content = bytearray(SAMPLES["png"])
    content[bit // 8] ^= 1 << bit % 8
    refusal(bytes(content))


@PATIENT
@given(
    kind=st.sampled_from(sorted(SAMPLES)),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 6)), max_size=6),
    decode=st.booleans(),
)
def test_damaged_images_raise_nothing_but_these_errors(
    kind: str,
    edits: list[tuple[int, bytes, int]],
    decode: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    content = bytearray(SAMPLES[kind])
    for place, inserted, removed in edits:
        start = place % (len(content) + 1)
        content[start : start + removed] = inserted
    assert outcome(bytes(content), decode=decode) in ("image", "no image")


@PATIENT
@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"RIFF\0\0\0\0WEBP", b"GIF89a"]),
    rest=st.binary(max_size=200),
)
def test_any_bytes_raise_nothing_but_these_errors(start: bytes, rest: bytes) -> None:
    assert outcome(start + rest, decode=False) in ("image", "no image")


def outcome(content: bytes, *, decode: bool) -> str:
    try:
        verdict(content, decode=decode)
    except ImageError:
        return "no image"
    return "image"
