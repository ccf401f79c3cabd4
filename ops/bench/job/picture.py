"""One PNG of about 200 kB, the same for every rival."""

import random
from io import BytesIO
from typing import Final

from PIL import Image

_SIDE: Final = 256


def picture() -> bytes:
    """Return noise, which no compression makes smaller."""
    noise = random.Random(1).randbytes(_SIDE * _SIDE * 3)
    file = BytesIO()
    Image.frombytes("RGB", (_SIDE, _SIDE), noise).save(file, "PNG")
    return file.getvalue()
