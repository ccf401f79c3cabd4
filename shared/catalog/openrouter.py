"""OpenRouter: one to ten images a call from many makers' models, inside the answer.

Source: "Generate an image" and its OpenAPI at https://openrouter.ai/docs, and the types of the vendor's Python SDK
1.3.84. Its enumerations grow between releases and differ by model: their shape is checked here, their value there.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from shared.catalog.inline import InlineImages
from shared.catalog.openrouter_options import OPTIONS
from shared.catalog.parameter import Parameter
from shared.catalog.provider import NO_PRICES, NO_VALUES, Parameters, Price, Provider, check_together
from shared.requests import GenerationRequest, RequestFault

_TITLE: Final = "OpenRouter"
_RATIOS: Final = (
    "1:1", "1:2", "1:4", "1:8", "2:1", "2:3", "2.35:1", "3:2", "3:4", "4:1", "4:3", "4:5", "5:2", "5:4", "5:7", "7:5",
    "8:1", "9:16", "16:9", "9:19.5", "19.5:9", "9:20", "20:9", "9:21", "21:9", "auto",
)  # fmt: skip
_RATIO: Final = re.compile(r"([1-9][0-9]*(?:\.[0-9]+)?):([1-9][0-9]*(?:\.[0-9]+)?)")
_PIXELS: Final = re.compile(r"([1-9][0-9]*)x([1-9][0-9]*)")
_RATIO_TOLERANCE: Final = 0.02  # sizes are rounded to what a model can draw
_LOSSLESS: Final = ("png", "svg")
# No limit is documented. These are the tightest that a provider of the catalog has; they bound a row.
_INLINE: Final = InlineImages(
    title=_TITLE,
    schemes=("https", "http"),
    kinds=("png", "jpeg", "webp", "gif"),
    image_max_bytes=10 * 2**20,
    body_max_bytes=25 * 2**20,
)
OURS: Final = {"stream": "a result is stored whole; pictures on the way to it are not kept"}


def _references(references: Sequence[str]) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": reference}} for reference in references]


PARAMETERS: Final = (
    Parameter(
        wire="model",
        field="model",
        type="text",
        required=True,
        pattern=re.compile(r"[^/\s]+/[^\s]+"),
        example="google/gemini-2.5-flash-image",
        prices="price: by model, if the account states it",
    ),
    Parameter(wire="prompt", field="prompt", type="text", required=True, minimum=1),
    Parameter(
        wire="n",
        field="n",
        type="integer",
        minimum=1,
        maximum=10,
        default=1,
        priced=True,
        prices="at most so many come",
    ),
    Parameter(
        wire="aspect_ratio",
        field="aspect_ratio",
        type="text",
        values=_RATIOS,
        loose=True,
        pattern=re.compile(rf"{_RATIO.pattern}|auto"),
        example="16:9",
    ),
    Parameter(
        wire="size",
        field="size",
        type="text",
        values=("512", "768", "1K", "1.5K", "2K", "4K", "WIDTHxHEIGHT"),
        loose=True,
        pattern=re.compile(rf"[1-9][0-9]*(\.[0-9]+)?K|[1-9][0-9]*|{_PIXELS.pattern}"),
        example="2K or 2048x2048",
    ),
    Parameter(wire="seed", field="seed", type="integer"),
    Parameter(
        wire="output_format",
        field="output_format",
        type="text",
        values=("png", "jpeg", "webp", "svg"),
        loose=True,
        pattern=re.compile(r"[a-z][a-z0-9]*"),
        example="png",
    ),
    Parameter(
        wire="input_references",
        field="references",
        type="list",
        maximum=16,
        items="http(s) URLs, data URLs or files",
        item=_INLINE.complaint,
        encode=_references,
    ),
    *OPTIONS,
)
_ALL: Final = Parameters(_TITLE, PARAMETERS, OURS)


def _transparency_needs_alpha(request: GenerationRequest) -> RequestFault | None:
    if request.options.get("background") == "transparent" and request.output_format in ("jpeg", "jpg"):
        return RequestFault("options.background", f"transparent needs output_format png or webp ({_TITLE})")
    return None


def _compression_needs_a_lossy_format(request: GenerationRequest) -> RequestFault | None:
    if "output_compression" in request.options and request.output_format in _LOSSLESS:
        return RequestFault(
            "options.output_compression", f"has an effect on jpeg and webp only; leave it out ({_TITLE})"
        )
    return None


def _size_is_the_resolution(request: GenerationRequest) -> RequestFault | None:
    resolution = request.options.get("resolution")
    if resolution is None or request.size is None or request.size == resolution:
        return None
    return RequestFault("options.resolution", f"does not go with size, which says the resolution; give one ({_TITLE})")


def _pixels_have_the_ratio(request: GenerationRequest) -> RequestFault | None:
    pixels = _PIXELS.fullmatch(request.size or "")
    ratio = _RATIO.fullmatch(request.aspect_ratio or "")
    if not pixels or not ratio:
        return None
    asked = float(ratio[1]) / float(ratio[2])
    if abs(int(pixels[1]) / int(pixels[2]) / asked - 1) <= _RATIO_TOLERANCE:
        return None
    return RequestFault("aspect_ratio", f"is not that of size; leave it out, the pixels say it ({_TITLE})")


def check(request: GenerationRequest) -> list[RequestFault]:
    """Name everything that OpenRouter cannot do; what a model can, and whether it exists, only it knows."""
    rules = (
        _INLINE.body_fault,
        _transparency_needs_alpha,
        _compression_needs_a_lossy_format,
        _size_is_the_resolution,
        _pixels_have_the_ratio,
    )
    return check_together(request, _ALL.check(request), rules)


def body(request: GenerationRequest, defaults: Mapping[str, Any] = NO_VALUES) -> dict[str, Any]:
    """Return the body of `POST /images`.

    Raises `ValueError` if the request names no model, or for any account default: OpenRouter has none.
    """
    return _ALL.body(request, defaults)


def price(request: GenerationRequest, prices: Mapping[str, Decimal] = NO_PRICES) -> Price | None:
    """Return the price in USD of `n` images from the account's own table by model; None if the model is not in it.

    The documents give none: prices are each endpoint's own, and the answer says what was charged.
    """
    amount = prices.get(request.model or "")
    return None if amount is None else Price(amount * request.n, "USD")


PROVIDER: Final = Provider(
    name="openrouter",
    title=_TITLE,
    kind="sync",
    base_url="https://openrouter.ai/api/v1",
    key_help_url="https://openrouter.ai/settings/keys",
    windows=(),  # by model and account, told only when it is passed
    concurrency=8,  # none documented
    timeout_seconds=180.0,  # 30 to 94 s reported; a call given up sooner is work thrown away
    quiet_seconds=300.0,  # until a charge shows in the key's usage; none documented
    max_images=10,
    unit="USD",
    parameters=PARAMETERS,
    check=check,
    body=body,
    price=price,
    ours=OURS,
    inline=_INLINE,
)
