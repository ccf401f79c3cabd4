"""Every example request that a provider's document gives is reached from a common request, to the letter."""

import pytest
from getimg.types import ImageGenerateParams
from pydantic import TypeAdapter

from shared import catalog
from shared.requests import GenerationRequest

_CAT = {"model": "seedream-5-lite", "prompt": "A cinematic portrait of a cat astronaut"}
_OFFICE = "A professional photo of a modern office workspace with natural lighting"
_EXAMPLES = [
    ("getimg", _CAT, _CAT),
    (
        "getimg",
        {
            "model": "seedream-5-lite",
            "prompt": "Product photo in warm studio lighting",
            "references": ["https://your-bucket.s3.amazonaws.com/reference.png"],
            "aspect_ratio": "1:1",
            "size": "2K",
            "output_format": "webp",
        },
        {
            "model": "seedream-5-lite",
            "prompt": "Product photo in warm studio lighting",
            "images": [
                {"url": "https://your-bucket.s3.amazonaws.com/reference.png", "role": "reference_image"},
            ],
            "aspect_ratio": "1:1",
            "resolution": "2K",
            "output_format": "webp",
        },
    ),
    (
        "getimg",
        {
            "model": "seedream-5-lite",
            "prompt": "A watercolor painting of a mountain village at dawn",
            "aspect_ratio": "16:9",
            "size": "2K",
            "output_format": "png",
        },
        {
            "model": "seedream-5-lite",
            "prompt": "A watercolor painting of a mountain village at dawn",
            "aspect_ratio": "16:9",
            "resolution": "2K",
            "output_format": "png",
        },
    ),
    (
        "posteverywhere",
        {"prompt": _OFFICE, "aspect_ratio": "16:9", "model": "nano-banana-pro"},
        {"prompt": _OFFICE, "aspect_ratio": "16:9", "model": "nano-banana-pro"},
    ),
    (
        "banatie",
        {
            "prompt": "a red sports car on a mountain road",
            "aspect_ratio": "16:9",
            "options": {"autoEnhance": True, "enhancementOptions": {"template": "photorealistic"}},
        },
        {
            "prompt": "a red sports car on a mountain road",
            "aspectRatio": "16:9",
            "autoEnhance": True,
            "enhancementOptions": {"template": "photorealistic"},
        },
    ),
    # These two examples leave the ratio out; it is sent all the same, as the documents disagree on its default.
    (
        "banatie",
        {"prompt": "a cat", "options": {"autoEnhance": True, "enhancementOptions": {"template": "photorealistic"}}},
        {
            "prompt": "a cat",
            "autoEnhance": True,
            "enhancementOptions": {"template": "photorealistic"},
            "aspectRatio": "1:1",
        },
    ),
    (
        "banatie",
        {"prompt": "a cat sitting on a windowsill", "options": {"autoEnhance": False}},
        {"prompt": "a cat sitting on a windowsill", "autoEnhance": False, "aspectRatio": "1:1"},
    ),
]


@pytest.mark.parametrize(("provider", "common", "body"), _EXAMPLES)
def test_a_documents_example_is_reached_to_the_letter(
    provider: str, common: dict[str, object], body: dict[str, object]
) -> None:
    request = GenerationRequest.model_validate(common)
    assert catalog.get(provider).check(request) == []
    assert catalog.get(provider).body(request, {}) == body
    if provider == "getimg":
        TypeAdapter(ImageGenerateParams).validate_python(body)
