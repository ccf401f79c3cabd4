"""The models of the simulated OpenRouter: what each accepts, and what it costs.

Names with a maker's prefix are ones that the vendor's guide uses; only the price of ``seedream-4.5`` is from there.
Those under ``sim/`` are made up: one with a price of many digits, one for a single image, one that draws SVG.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

_COMMON = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_EXTENDED = (*_COMMON, "1:2", "2:1", "1:4", "4:1", "1:8", "8:1", "2.35:1", "9:19.5", "19.5:9", "9:21")
_RASTER = ("png", "jpeg", "webp")


@dataclass(frozen=True, slots=True)
class OpenRouterModel:
    """One model at one provider.

    ``prices``: USD per image by resolution, the first being the default; ``token_price``: USD per prompt token. The
    first format is the default.
    """

    id: str
    name: str
    provider_name: str
    provider_slug: str
    prices: Mapping[str, Decimal]
    token_price: Decimal = Decimal(0)
    ratios: tuple[str, ...] = _COMMON
    formats: tuple[str, ...] = _RASTER
    most_images: int = 10
    most_references: int = 16
    transparent: bool = False
    streams: bool = False
    passthrough: tuple[str, ...] = field(default_factory=tuple)

    @property
    def parameters(self) -> dict[str, Any]:
        """The capability descriptors of ``supported_parameters``."""
        found: dict[str, Any] = {
            "resolution": {"type": "enum", "values": list(self.prices)},
            "aspect_ratio": {"type": "enum", "values": list(self.ratios)},
            "output_format": {"type": "enum", "values": list(self.formats)},
            "input_references": {"type": "range", "min": 0, "max": self.most_references},
            "seed": {"type": "boolean"},
        }
        if self.most_images > 1:
            found["n"] = {"type": "range", "min": 1, "max": self.most_images}
        if self.transparent:
            found["background"] = {"type": "enum", "values": ["auto", "transparent", "opaque"]}
        return found

    def listed(self) -> dict[str, Any]:
        """Return the model as ``GET /images/models`` lists it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": f"Simulated: {self.name}",
            "created": 1767225600,
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
            "supported_parameters": self.parameters,
            "supports_streaming": self.streams,
            "endpoints": f"/api/v1/images/models/{self.id}/endpoints",
        }

    def endpoint(self) -> dict[str, Any]:
        """Return the record of the one endpoint, with its prices."""
        flat = len(set(self.prices.values())) == 1
        pricing: list[dict[str, Any]] = [
            {"billable": "output_image", "unit": "image", "cost_usd": price, "variant": size.lower()}
            for size, price in self.prices.items()
        ]
        if flat:
            pricing = [{"billable": "output_image", "unit": "image", "cost_usd": next(iter(self.prices.values()))}]
        if self.token_price:
            pricing.append({"billable": "input_text", "unit": "token", "cost_usd": self.token_price})
        return {
            "provider_name": self.provider_name,
            "provider_slug": self.provider_slug,
            "provider_tag": self.provider_slug,
            "supported_parameters": self.parameters,
            "allowed_passthrough_parameters": list(self.passthrough),
            "supports_streaming": self.streams,
            "pricing": pricing,
        }


def _tiers(one: str, two: str, four: str) -> dict[str, Decimal]:
    return {"1K": Decimal(one), "2K": Decimal(two), "4K": Decimal(four)}


MODELS = {
    model.id: model
    for model in (
        OpenRouterModel(
            "bytedance-seed/seedream-4.5", "Seedream 4.5", "Bytedance", "bytedance", _tiers("0.05", "0.05", "0.05")
        ),
        OpenRouterModel(
            "openai/gpt-image-1",
            "GPT Image 1",
            "OpenAI",
            "openai",
            {"1K": Decimal("0.042")},
            token_price=Decimal("0.000005"),
            transparent=True,
            streams=True,
        ),
        OpenRouterModel(
            "google/gemini-2.5-flash-image",
            "Gemini 2.5 Flash Image",
            "Google AI Studio",
            "google-ai-studio",
            {"1K": Decimal("0.03870967")},
            token_price=Decimal("0.0000003"),
            most_images=1,
            most_references=3,
        ),
        OpenRouterModel(
            "black-forest-labs/flux.2-pro",
            "FLUX.2 Pro",
            "Black Forest Labs",
            "black-forest-labs",
            _tiers("0.03", "0.075", "0.255"),
            most_images=1,
            passthrough=("steps", "guidance"),
        ),
        OpenRouterModel(
            "sim/photo",
            "Simulated photo",
            "Simulator",
            "simulator",
            {**_tiers("0.0387654321", "0.0775308642", "0.1550617284"), "512": Decimal("0.0123456789")},
            token_price=Decimal("0.00000012345678901"),
            ratios=_EXTENDED,
            transparent=True,
        ),
        OpenRouterModel(
            "sim/single", "Simulated single", "Simulator", "simulator", {"1K": Decimal("0.01")}, most_images=1
        ),
        OpenRouterModel(
            "sim/vector", "Simulated vector", "Simulator", "simulator", {"1K": Decimal("0.02")}, formats=("svg",)
        ),
    )
}
