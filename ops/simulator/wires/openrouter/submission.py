"""What OpenRouter's ``POST /images`` accepts: parameters of its document, enums of its Python SDK 1.3.84."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ops.simulator.wires.openrouter.errors import OpenRouterErrors
from ops.simulator.wires.openrouter.models import MODELS, OpenRouterModel

_ENUMS: dict[str, tuple[str, ...]] = {
    "aspect_ratio": (
        "1:1", "1:2", "1:4", "1:8", "2:1", "2:3", "2.35:1", "3:2", "3:4", "4:1", "4:3", "4:5", "5:2", "5:4", "5:7",
        "7:5", "8:1", "9:16", "16:9", "9:19.5", "19.5:9", "9:20", "20:9", "9:21", "21:9", "auto",
    ),
    "background": ("auto", "transparent", "opaque"),
    "output_format": ("png", "jpeg", "webp", "svg"),
    "quality": ("auto", "low", "medium", "high", "xhigh", "max"),
    "resolution": ("512", "768", "1K", "1.5K", "2K", "4K"),
}  # fmt: skip
_INTEGERS = {"n": (1, 10), "output_compression": (0, 100), "seed": (-(2**63), 2**63 - 1)}
_TIERS = {"512": 512, "768": 768, "1K": 1024, "1.5K": 1536, "2K": 2048, "4K": 4096}
_WITH_ALPHA = {"png", "webp"}
_PIXELS = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})")
_REFERENCE = re.compile(r"https?://|data:image/[a-z+.-]+;base64,")
_ROUTING = {"only", "order", "ignore", "sort", "allow_fallbacks", "options"}


@dataclass(frozen=True, slots=True)
class OpenRouterSubmission:
    """A valid request; ``ratio`` is "width:height", ``seed`` the caller's own if there is one."""

    model: OpenRouterModel
    prompt: str
    count: int
    ratio: str
    resolution: str
    output_format: str
    transparent: bool
    stream: bool
    seed: int | None

    @property
    def prompt_tokens(self) -> int:
        """The length of the prompt in tokens: four characters each, as a rule of thumb."""
        return -(-len(self.prompt) // 4)

    def cost(self, images: int) -> Decimal:
        """Return the price of ``images`` images in USD."""
        return self.model.prices[self.resolution] * images + self.model.token_price * self.prompt_tokens


def parse_submission(body: bytes, errors: OpenRouterErrors) -> OpenRouterSubmission:
    """Read a request body. Raises ``RefusalError`` with a 400 naming the parameter, or a 404 for the model."""
    document = _object(body, errors)
    for name in ("model", "prompt"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise errors.invalid(f"{name}: expected a string of at least 1 character")
    _check_values(document, errors)
    model = MODELS.get(document["model"])
    if model is None:
        raise errors.refuse(404, "not_found", "No endpoints found for this model")
    _check_references(document.get("input_references", []), model, errors)
    _check_routing(document.get("provider", {}), model, errors)
    count = document.get("n", 1)
    if count > model.most_images:
        raise errors.invalid(f"n: this model generates at most {model.most_images} per request")
    form = document.get("output_format", model.formats[0])
    if form not in model.formats:
        raise errors.invalid(f"output_format: {form} is not supported by this model")
    transparent = document.get("background") == "transparent"
    if transparent and form not in _WITH_ALPHA:
        raise errors.invalid("background: transparent requires an output_format with alpha (png or webp)")
    ratio, resolution = _dimensions(document, model, errors)
    return OpenRouterSubmission(
        model=model,
        prompt=document["prompt"],
        count=count,
        ratio=ratio,
        resolution=resolution,
        output_format=form,
        transparent=transparent and model.transparent,
        stream=document.get("stream", False) and model.streams,
        seed=document.get("seed"),
    )


def _object(body: bytes, errors: OpenRouterErrors) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        raise errors.invalid("The request body is not valid JSON") from None
    if not isinstance(document, dict):
        raise errors.invalid("The request body must be an object")
    return {name: value for name, value in document.items() if value is not None}


def _check_values(document: dict[str, Any], errors: OpenRouterErrors) -> None:
    for name, allowed in _ENUMS.items():
        if document.get(name, allowed[0]) not in allowed:
            raise errors.invalid(f"{name}: expected one of {', '.join(allowed)}")
    for name, (low, high) in _INTEGERS.items():
        value = document.get(name, low)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise errors.invalid(f"{name}: expected an integer from {low} to {high}")
    for name, kind in (("size", str), ("stream", bool), ("provider", dict), ("input_references", list)):
        if not isinstance(document.get(name, kind()), kind):
            raise errors.invalid(f"{name}: expected another type")


def _check_references(references: list[Any], model: OpenRouterModel, errors: OpenRouterErrors) -> None:
    if len(references) > model.most_references:
        raise errors.invalid(f"input_references: this model takes at most {model.most_references}")
    for number, item in enumerate(references):
        image = item.get("image_url") if isinstance(item, dict) and item.get("type") == "image_url" else None
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str) or not _REFERENCE.match(url):
            raise errors.invalid(f"input_references[{number}]: expected an image_url with an http(s) or data URL")


def _check_routing(wanted: dict[str, Any], model: OpenRouterModel, errors: OpenRouterErrors) -> None:
    unknown = set(wanted) - _ROUTING
    if unknown:
        raise errors.invalid(f"provider.{min(unknown)}: unrecognized")
    only, ignored = wanted.get("only") or [model.provider_slug], wanted.get("ignore") or []
    if model.provider_slug not in only or model.provider_slug in ignored:
        raise errors.refuse(404, "not_found", "No allowed providers are available for the selected model")
    options = (wanted.get("options") or {}).get(model.provider_slug) or {}
    refused = set(options) - set(model.passthrough)
    if refused:
        raise errors.invalid(f"provider.options.{model.provider_slug}.{min(refused)}: not accepted by this endpoint")


def _dimensions(document: dict[str, Any], model: OpenRouterModel, errors: OpenRouterErrors) -> tuple[str, str]:
    """Return ratio and resolution; pixels in ``size`` are authoritative, a tier there is a resolution."""
    ratio, resolution, size = document.get("aspect_ratio"), document.get("resolution"), document.get("size")
    pixels = _PIXELS.fullmatch(size or "")
    if pixels is not None:
        sides = int(pixels[1]), int(pixels[2])
        tier = next((name for name, side in _TIERS.items() if max(sides) <= side), "4K")
        if resolution not in {None, tier} or (ratio is not None and _value(ratio) != Fraction(*sides)):
            raise errors.invalid("size: conflicts with resolution or aspect_ratio")
        return f"{sides[0]}:{sides[1]}", _supported(tier, model)
    if size is not None and size not in _TIERS:
        raise errors.invalid("size: expected a tier such as 2K, or pixels such as 2048x2048")
    if size is not None and resolution not in {None, size}:
        raise errors.invalid("size: conflicts with resolution")
    return _clamped(ratio, model), _supported(size or resolution, model)


def _value(ratio: str) -> Fraction | None:
    if ratio == "auto":
        return None
    across, down = ratio.split(":")
    return Fraction(across) / Fraction(down)


def _clamped(ratio: str | None, model: OpenRouterModel) -> str:
    """Return the nearest ratio that the model has: providers clamp to their subset."""
    if ratio in model.ratios:
        return ratio
    value = _value(ratio or "auto")
    if value is None:
        return model.ratios[0]
    return min(model.ratios, key=lambda known: abs((_value(known) or value) - value))


def _supported(tier: str | None, model: OpenRouterModel) -> str:
    if tier is None:
        return next(iter(model.prices))
    return tier if tier in model.prices else max(model.prices, key=lambda name: _TIERS[name])
