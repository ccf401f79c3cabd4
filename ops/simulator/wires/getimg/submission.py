"""What getimg accepts in ``POST /v2/images/generations``: parameters and limits of its guide and SDK."""

import base64
import binascii
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ops.simulator.replies import RefusalError
from ops.simulator.wires.getimg.errors import error_reply
from ops.simulator.wires.getimg.models import MODELS, GetimgModel

MOST_PROMPT = 4096
MOST_BODY = 25 * 1024 * 1024
MOST_REFERENCE = 10 * 1024 * 1024
FORMATS = ("png", "jpeg", "webp")
_INLINE = ("data:image/png;base64,", "data:image/jpeg;base64,", "data:image/webp;base64,")


@dataclass(frozen=True, slots=True)
class GetimgSubmission:
    """A valid request."""

    model: GetimgModel
    prompt: str
    ratio: str
    resolution: str
    output_format: str

    @property
    def price(self) -> Decimal:
        """The price of the one image in USD."""
        return self.model.prices[self.resolution]


def parse_submission(body: bytes) -> GetimgSubmission:
    """Read a request body. Raises ``RefusalError`` with a 400 that names the parameter."""
    if len(body) > MOST_BODY:
        raise _invalid("request body must fit within 25 MiB")
    try:
        document = json.loads(body)
    except ValueError:
        raise _invalid("request body is not JSON") from None
    if not isinstance(document, dict):
        raise _invalid("request body must be an object")
    model = MODELS.get(str(document.get("model")))
    if model is None:
        raise _invalid("model is missing or not supported")
    prompt = document.get("prompt")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= MOST_PROMPT:
        raise _invalid(f"prompt must be a string of 1 to {MOST_PROMPT} characters")
    _check_references(document.get("images", []), model)
    return GetimgSubmission(
        model=model,
        prompt=prompt,
        ratio=_one_of(document, "aspect_ratio", model.ratios, model.ratios[0]),
        resolution=_one_of(document, "resolution", tuple(model.prices), next(iter(model.prices))),
        output_format=_one_of(document, "output_format", FORMATS, "jpeg"),
    )


def _one_of(document: dict[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = document.get(name, default)
    if value not in allowed:
        raise _invalid(f"{name} must be one of {', '.join(allowed)}")
    return str(value)


def _check_references(images: Any, model: GetimgModel) -> None:
    if not isinstance(images, list):
        raise _invalid("images must be an array")
    if len(images) > model.most_references:
        raise _invalid(f"images: {model.id} takes at most {model.most_references} references")
    for number, image in enumerate(images):
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str) or not _is_reference(url):
            raise _invalid(f"images[{number}].url must be an https URL or a base64 data URL of at most 10 MiB")
        if image.get("role", "reference_image") != "reference_image":
            raise _invalid(f"images[{number}].role is not supported by {model.id}")


def _is_reference(url: str) -> bool:
    if url.startswith("https://"):
        return True
    if not url.startswith(_INLINE):
        return False
    try:
        return len(base64.b64decode(url.partition(",")[2], validate=True)) <= MOST_REFERENCE
    except binascii.Error:
        return False


def _invalid(message: str) -> RefusalError:
    return RefusalError(error_reply(400, message=message))
