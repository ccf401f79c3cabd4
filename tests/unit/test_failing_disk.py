"""A disk that fails while an image is looked at: the image is not judged by it."""

import gzip
import io
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from PIL import Image

from worker.stages import copy_image
from worker.transport.download import Fetched
from worker.transport.spool import SpoolError


def picture() -> bytes:
    made = io.BytesIO()
    Image.effect_noise((300, 300), 90).save(made, "PNG")
    return made.getvalue()


class FailingSpool:
    """A whole image that can be read `times` times."""

    def __init__(self, content: bytes, times: float) -> None:
        self.content, self.length = content, len(content)
        self.left = len(content) * times
        self.sha256_base64 = ""

    def rewound(self) -> BinaryIO:
        spool = self

        class File(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                found = super().read(size)
                spool.left -= len(found)
                if spool.left < 0:
                    raise OSError(5, "Input/output error")
                return found

        return File(self.content)


@pytest.mark.parametrize("times", [0.5, 1.5])
def test_an_image_that_the_disk_does_not_give_back_is_no_damaged_image(times: float) -> None:
    settings = SimpleNamespace(max_image_pixels=1_000_000, verify_decode=True)
    runtime: Any = SimpleNamespace(settings=settings)
    spool: Any = FailingSpool(picture(), times)
    with pytest.raises(SpoolError, match="cannot be read"):
        copy_image._check(runtime, Fetched(spool, "image/png", 200, 0))


def test_a_wrapping_that_the_disk_does_not_give_back_waits_for_the_disk(tmp_path: Any) -> None:
    runtime: Any = SimpleNamespace(spool_dir=tmp_path, settings=SimpleNamespace(max_image_bytes=1_000_000))
    spool: Any = FailingSpool(gzip.compress(picture()), 0.5)
    with ExitStack() as spools, pytest.raises(SpoolError, match="cannot be read"):
        copy_image._unwrapped(runtime, Fetched(spool, None, 200, 0), spools)
