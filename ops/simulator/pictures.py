"""Pictures drawn from a prompt: real files in the asked format and proportions, the same bytes every time."""

import io
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ops.simulator.draws import digest

MIME_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

# Cheap on purpose: one core has to draw hundreds a second.
_SAVE: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},
    "jpeg": {"quality": 82},
    "webp": {"quality": 70, "method": 0},
}


_STEPS = 200  # colours of the background's slope; those of the shapes and of the text come after them
_SHAPES = range(8, 26, 6)  # where each shape finds its six bytes of paint
_STEP_OF = [level * _STEPS // 256 for level in range(256)]


@dataclass(frozen=True, slots=True)
class Sketch:
    """Everything that a picture's bytes follow from. ``width`` and ``height`` are pixels."""

    seed: int
    prompt: str
    model: str
    ratio: str
    index: int
    width: int
    height: int
    image_format: str


def size_for(ratio: str, longest: int) -> tuple[int, int]:
    """Return the largest (width, height) in pixels with exactly ``ratio`` and no side over ``longest``."""
    across, down = (int(part) for part in ratio.split(":"))
    shared = math.gcd(across, down)
    across, down = across // shared, down // shared
    unit = max(1, longest // max(across, down))
    return across * unit, down * unit


def draw(sketch: Sketch) -> bytes:
    """Return the encoded picture; a PNG keeps its palette, which encodes seven times faster than true colour."""
    paint = digest(sketch.seed, sketch.prompt, sketch.model, sketch.ratio, sketch.index)
    canvas = _background((sketch.width, sketch.height), turns=paint[6] % 4)
    canvas.putpalette(_palette(paint))
    pen = ImageDraw.Draw(canvas)
    _shapes(pen, paint, sketch.width, sketch.height)
    _caption(pen, sketch)
    if sketch.image_format != "png":
        canvas = canvas.convert("RGB")
    buffer = io.BytesIO()
    canvas.save(buffer, sketch.image_format.upper(), **_SAVE[sketch.image_format])
    return buffer.getvalue()


def _background(size: tuple[int, int], turns: int) -> Image.Image:
    slope = Image.linear_gradient("L").rotate(90 * turns).resize((64, 64)).point(_STEP_OF)
    canvas = slope.resize(size, Image.Resampling.NEAREST)
    return Image.frombytes("P", size, canvas.tobytes())


def _palette(paint: bytes) -> list[int]:
    dark = [channel // 3 for channel in paint[0:3]]
    light = [128 + channel // 2 for channel in paint[3:6]]
    slope = [
        low + (high - low) * step // _STEPS for step in range(_STEPS) for low, high in zip(dark, light, strict=True)
    ]
    shapes = [channel for start in _SHAPES for channel in paint[start + 3 : start + 6]]
    return [*slope, *shapes, 255, 255, 255]


def _shapes(pen: ImageDraw.ImageDraw, paint: bytes, width: int, height: int) -> None:
    reach = min(width, height)
    for number, start in enumerate(_SHAPES):
        left, top = paint[start] * width // 320, paint[start + 1] * height // 320
        side = reach // 6 + paint[start + 2] * reach // 640
        shape = pen.ellipse if paint[start] % 2 else pen.rectangle
        shape((left, top, left + side, top + side), fill=_STEPS + number)


def _caption(pen: ImageDraw.ImageDraw, sketch: Sketch) -> None:
    height = max(10, sketch.height // 18)
    words = " ".join(sketch.prompt.split()[:6])[:48]
    lines = f"{words}\n{sketch.model} {sketch.ratio} #{sketch.index + 1}"
    # The built-in font may lack the prompt's letters; it then draws boxes, which is fine.
    place = (height // 2, sketch.height - 3 * height)
    pen.multiline_text(place, lines, fill=_STEPS + len(_SHAPES), font=_font(height))


@lru_cache(maxsize=16)
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(height)
