"""getimg.ai v2: one image a call, answered with the result; a signed link that dies.

Source: "Generate images" at https://docs.getimg.ai, and the types of the vendor's Python SDK 0.4.0.
Ratios and resolutions differ by model and the document lists only common ones: their shape is checked here,
their value by getimg.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from shared.catalog.parameter import Parameter
from shared.catalog.provider import NO_PRICES, NO_VALUES, Parameters, Price, Provider
from shared.requests import Fault, GenerationRequest

_TITLE: Final = "getimg"
_IMAGE_MAX_BYTES: Final = 10 * 2**20  # of one reference, decoded
_BODY_MAX_BYTES: Final = 25 * 2**20  # of the whole JSON body
_DATA_URL: Final = re.compile(r"data:image/(?:png|jpeg|webp);base64,")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_URL_CHARS: Final = re.compile(r"[!-~]+")


def _reference_complaint(reference: str) -> str | None:
    if reference.startswith("data:"):
        return _data_url_complaint(reference)
    try:
        url = urlsplit(reference)
        fine = url.scheme == "https" and bool(url.hostname) and _URL_CHARS.fullmatch(reference)
    except ValueError:
        fine = False
    return None if fine else "must be an https URL or a data URL"


def _data_url_complaint(reference: str) -> str | None:
    head = _DATA_URL.match(reference)
    if not head:
        return "must be a base64 data URL of a PNG, JPEG or WebP image"
    digits = len(reference) - head.end()
    if digits % 4 or not _BASE64.fullmatch(reference, head.end()):
        return "is not valid base64"
    size = digits // 4 * 3 - reference[-2:].count("=")
    if size > _IMAGE_MAX_BYTES:
        return f"has {size} bytes decoded; the limit is {_IMAGE_MAX_BYTES} (10 MiB)"
    return None


def _images(references: Sequence[str]) -> list[dict[str, str]]:
    return [{"url": reference, "role": "reference_image"} for reference in references]


PARAMETERS: Final = (
    Parameter(wire="model", field="model", type="text", required=True),
    Parameter(wire="prompt", field="prompt", type="text", required=True, minimum=1, maximum=4096),
    Parameter(
        wire="aspect_ratio",
        field="aspect_ratio",
        type="text",
        pattern=re.compile(r"[0-9]+:[0-9]+"),
        example="16:9",
    ),
    Parameter(wire="resolution", field="size", type="text", pattern=re.compile(r"[0-9]+K"), example="2K"),
    Parameter(
        wire="output_format",
        field="output_format",
        type="text",
        values=("png", "jpeg", "webp"),
        default="jpeg",
    ),
    Parameter(wire="images", field="references", type="list", item=_reference_complaint, encode=_images),
)
_ALL: Final = Parameters(_TITLE, PARAMETERS)


def check(request: GenerationRequest) -> list[Fault]:
    """Name everything that getimg cannot do; whether the model exists only getimg knows."""
    faults = _ALL.check(request)
    total = sum(map(len, request.references)) + 4 * len(request.prompt)
    if total > _BODY_MAX_BYTES and not any(fault.field == "references" for fault in faults):
        faults.append(Fault("references", f"make the request larger than {_BODY_MAX_BYTES} bytes ({_TITLE})"))
    return faults


def body(request: GenerationRequest, defaults: Mapping[str, Any] = NO_VALUES) -> dict[str, Any]:
    """Return the body of `POST /v2/images/generations`.

    Raises `ValueError` if the request names no model, or for any account default: getimg has none.
    """
    return _ALL.body(request, defaults)


def price(request: GenerationRequest, prices: Mapping[str, Decimal] = NO_PRICES) -> Price | None:
    """Return the price in USD from the account's own table by model; None if the model is not in it.

    The documents give no prices; `GET /v2/models` does, for the key that asks.
    """
    amount = prices.get(request.model or "")
    return None if amount is None else Price(amount * request.n, "USD")


PROVIDER: Final = Provider(
    name="getimg",
    title=_TITLE,
    kind="sync",
    base_url="https://api.getimg.ai",
    key_help_url="https://docs.getimg.ai",
    windows=(),  # none documented
    concurrency=4,  # limited, but no figure is documented
    timeout_seconds=300.0,  # the vendor SDK's own; a call given up sooner may be paid and can never be found
    max_images=1,
    unit="USD",
    parameters=PARAMETERS,
    check=check,
    body=body,
    price=price,
)
