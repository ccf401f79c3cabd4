"""What Bloom's ``POST /images/generations`` accepts: parameters and limits of its OpenAPI document."""

import json
import re
from dataclasses import dataclass
from typing import Any

from ops.simulator.wires.bloom.errors import BloomErrors

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
SIZES = ("2K", "4K")
MODELS = ("fast", "standard", "pro")
CREDITS = {"2K": 1, "4K": 2}
MOST_PROMPT, MOST_VARIANTS, MOST_REFERENCES = 2000, 5, 10
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BloomSubmission:
    """A valid request; the default ratio is not documented, here it is 1:1."""

    prompt: str
    brand: str
    ratio: str
    size: str
    model: str
    variants: int
    references: tuple[str, ...]

    @property
    def credits(self) -> int:
        """The price in credits of all variants together."""
        return CREDITS[self.size] * self.variants


def is_uuid(value: Any) -> bool:
    """Say whether ``value`` is a UUID in its usual form."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def parse_submission(body: bytes, errors: BloomErrors) -> BloomSubmission:
    """Read a request body. Raises ``RefusalError`` with Bloom's 400 naming the parameter."""
    try:
        document = json.loads(body)
    except ValueError:
        raise errors.invalid("body", "is not JSON") from None
    if not isinstance(document, dict):
        raise errors.invalid("body", "must be an object")
    prompt = document.get("prompt")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= MOST_PROMPT:
        raise errors.invalid("prompt", f"must be a string of 1 to {MOST_PROMPT} characters")
    brand = document.get("brandSessionId")
    if not is_uuid(brand):
        raise errors.invalid("brandSessionId", "must be a UUID")
    return BloomSubmission(
        prompt=prompt,
        brand=str(brand).lower(),
        ratio=_one_of(document, "aspectRatio", RATIOS, "1:1", errors),
        size=_one_of(document, "imageSize", SIZES, "2K", errors),
        model=_one_of(document, "model", MODELS, "pro", errors),
        variants=_variants(document, errors),
        references=_references(document, errors),
    )


def _one_of(document: dict[str, Any], name: str, allowed: tuple[str, ...], default: str, errors: BloomErrors) -> str:
    value = document.get(name, default)
    if value not in allowed:
        raise errors.invalid(name, f"must be one of {', '.join(allowed)}")
    return str(value)


def _variants(document: dict[str, Any], errors: BloomErrors) -> int:
    count = document.get("variantCount", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_VARIANTS:
        raise errors.invalid("variantCount", f"must be an integer from 1 to {MOST_VARIANTS}")
    return count


def _references(document: dict[str, Any], errors: BloomErrors) -> tuple[str, ...]:
    references = document.get("referenceImageIds", [])
    if not isinstance(references, list) or not all(is_uuid(item) for item in references):
        raise errors.invalid("referenceImageIds", "must be an array of UUIDs")
    if len(references) > MOST_REFERENCES:
        raise errors.refuse("REFERENCE_LIMIT_EXCEEDED")
    return tuple(item.lower() for item in references)
