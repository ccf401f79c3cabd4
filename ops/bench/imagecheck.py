"""Measures an image's structural check and its full decode: `python -m ops.bench.imagecheck [ROUNDS]`."""

import functools
import io
import sys
import time
from collections.abc import Callable
from typing import Final

from PIL import Image

from worker.imagecheck import check

_SIDES: Final = (512, 2048)
_KINDS: Final = ("PNG", "JPEG", "WEBP")
_MAX_PIXELS: Final = 2048 * 2048


def sample(kind: str, side: int) -> bytes:
    """Return an encoded square image of `side` pixels: soft shapes with some noise, like generated images."""
    shapes = Image.radial_gradient("L").resize((side, side))
    noise = Image.effect_noise((side, side), 12)
    picture = Image.merge("RGB", (shapes, Image.blend(shapes, noise, 0.1), Image.blend(shapes, noise, 0.2)))
    file = io.BytesIO()
    picture.save(file, kind, quality=90)
    return file.getvalue()


def cpu_milliseconds(action: Callable[[], object], rounds: int) -> float:
    """Return the least CPU time of one `action` in milliseconds, because noise only adds time."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times) * 1000


def main(rounds: int) -> None:
    """Print one line for each kind and size; both columns are measured alternately on the same bytes."""
    print(f"{'kind':5} {'side':>5} {'bytes':>10} {'check ms':>9} {'check + decode ms':>18} {'ratio':>7}")
    for kind in _KINDS:
        for side in _SIDES:
            file = io.BytesIO(sample(kind, side))
            run = functools.partial(check, file, declared_type=None, max_pixels=_MAX_PIXELS)
            structural = cpu_milliseconds(run, rounds)
            decoded = cpu_milliseconds(functools.partial(run, decode=True), rounds)
            size = len(file.getvalue())
            print(f"{kind:5} {side:5} {size:10,} {structural:9.3f} {decoded:18.3f} {decoded / structural:6.0f}x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
