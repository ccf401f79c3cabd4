"""Images in a wrapping that no header names: taken out where that is certain, known as such where it is not."""

import base64
import gzip
import io

import pytest
from PIL import Image

from worker.imagecheck import may_hold_image, unwrap

FILE = io.BytesIO()
Image.effect_noise((40, 30), 80).save(FILE, "PNG")
PNG = FILE.getvalue()
CODED = base64.b64encode(PNG)
PAGE = b"<html>be right back</html>"


def taken_out(content: bytes) -> bytes | None:
    pieces: list[bytes] = []
    return b"".join(pieces) if unwrap(io.BytesIO(content), pieces.append) else None


@pytest.mark.parametrize("before", [b"\r\n", b"\n", b" \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_white_space_before_an_image_is_no_part_of_it(before: bytes) -> None:
    assert taken_out(before + PNG) == PNG


@pytest.mark.parametrize("inside", [PNG, PAGE, b""])
def test_whole_gzip_is_what_it_holds(inside: bytes) -> None:
    assert taken_out(gzip.compress(inside)) == inside


@pytest.mark.parametrize(
    "content",
    [
        PNG,
        b"",
        b"\n",
        PAGE,
        b"\n" + PAGE,
        gzip.compress(PNG)[:-9],
        gzip.compress(PNG)[:-4] + b"lies",
        b"\x1f\x8b",
        CODED,
    ],
)
def test_what_is_not_certainly_wrapped_stays_as_it_is(content: bytes) -> None:
    assert taken_out(content) is None


@pytest.mark.parametrize(
    "content",
    [
        CODED,
        b"data:image/png;base64," + CODED,
        base64.encodebytes(PNG),
        b'{"image": "' + CODED + b'"}',
        b"--x\r\nContent-Type: image/png\r\n\r\n" + PNG + b"\r\n--x--\r\n",
        gzip.compress(PNG)[:-9],
        bytes(range(256)),
    ],
)
def test_data_and_coded_text_may_hold_an_image(content: bytes) -> None:
    assert may_hold_image(content)


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", PAGE, b"\n" + PAGE, b"<!-- " + CODED, b'{"message": "upstream is busy"}', b"please wait " * 99],
)
def test_markup_and_words_hold_none(content: bytes) -> None:
    assert not may_hold_image(content)
