"""Pictures drawn from a prompt: real files in the asked format and proportions, the same bytes every time."""

import io
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ops.simulator.draws import digest

MIME_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "svg": "image/svg+xml"}

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
    """Everything that a picture's bytes follow from. ``width`` and ``height`` are pixels.

    ``transparent`` leaves the background out, which only PNG and WebP can.
    """

    seed: int
    prompt: str
    model: str
    ratio: str
    index: int
    width: int
    height: int
    image_format: str
    transparent: bool = False


def size_for(ratio: str, longest: int) -> tuple[int, int]:
    """Return the largest (width, height) in pixels with exactly ``ratio`` and no side over ``longest``."""
    wide, high = ratio.split(":")
    across, down = (Fraction(wide) / Fraction(high)).as_integer_ratio()
    unit = max(1, longest // max(across, down))
    return across * unit, down * unit


def paint_of(sketch: Sketch) -> bytes:
    """Return the 32 bytes that decide colours and shapes."""
    return digest(sketch.seed, sketch.prompt, sketch.model, sketch.ratio, sketch.index)


def draw(sketch: Sketch) -> bytes:
    """Return the encoded picture; a PNG keeps its palette, which encodes seven times faster than true colour."""
    if sketch.image_format == "svg":
        return draw_svg(sketch)
    paint = paint_of(sketch)
    canvas = _background((sketch.width, sketch.height), turns=paint[6] % 4)
    canvas.putpalette(_palette(paint))
    pen = ImageDraw.Draw(canvas)
    _shapes(pen, paint, sketch.width, sketch.height)
    _caption(pen, sketch)
    options = dict(_SAVE[sketch.image_format])
    if sketch.transparent:
        canvas.info["transparency"] = options["transparency"] = bytes(_STEPS)  # alpha of the slope's colours: none
    if sketch.image_format != "png":
        options.pop("transparency", None)
        canvas = canvas.convert("RGBA" if sketch.transparent else "RGB")
    buffer = io.BytesIO()
    canvas.save(buffer, sketch.image_format.upper(), **options)
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


def draw_svg(sketch: Sketch) -> bytes:
    """Return the picture as SVG markup: its colours and shapes, no text."""
    paint, (width, height) = paint_of(sketch), (sketch.width, sketch.height)
    reach = min(width, height)
    shapes = "".join(
        f'<circle cx="{paint[at] * width // 320}" cy="{paint[at + 1] * height // 320}" '
        f'r="{reach // 12 + paint[at + 2] * reach // 1280}" fill="#{paint[at + 3 : at + 6].hex()}"/>'
        for at in _SHAPES
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    ground = f'<rect width="{width}" height="{height}" fill="#{paint[0:3].hex()}"/>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{ground}{shapes}</svg>\n'.encode()
