"""getimg.ai v2: one image a call, answered with the result; a signed link that dies.

Source: "Generate images" at https://docs.getimg.ai, and the types of the vendor's Python SDK 0.4.0.
Ratios and resolutions differ by model and the document lists only common ones: their shape is checked here,
their value by getimg.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from shared.catalog.inline import InlineImages
from shared.catalog.parameter import Parameter
from shared.catalog.provider import NO_PRICES, NO_VALUES, NOTHING_OURS, Parameters, Price, Provider, check_together
from shared.requests import GenerationRequest, RequestFault

_TITLE: Final = "getimg"
_INLINE: Final = InlineImages(
    title=_TITLE,
    schemes=("https",),
    kinds=("png", "jpeg", "webp"),
    image_max_bytes=10 * 2**20,
    body_max_bytes=25 * 2**20,
)


def _images(references: Sequence[str]) -> list[dict[str, str]]:
    return [{"url": reference, "role": "reference_image"} for reference in references]


PARAMETERS: Final = (
    Parameter(
        wire="model",
        field="model",
        type="text",
        required=True,
        example="seedream-5-lite",
        prices="price: by model, if the account states it",
    ),
    Parameter(wire="prompt", field="prompt", type="text", required=True, minimum=1, maximum=4096),
    Parameter(
        wire="aspect_ratio",
        field="aspect_ratio",
        type="text",
        values=("1:1", "16:9", "9:16", "2:3", "3:2"),
        loose=True,
        pattern=re.compile(r"[1-9][0-9]*:[1-9][0-9]*"),
        example="16:9",
    ),
    Parameter(
        wire="resolution",
        field="size",
        type="text",
        values=("1K", "2K", "4K"),
        loose=True,
        pattern=re.compile(r"[1-9][0-9]*K"),
        example="2K",
    ),
    Parameter(
        wire="output_format",
        field="output_format",
        type="text",
        values=("png", "jpeg", "webp"),
        default="jpeg",
    ),
    Parameter(
        wire="images",
        field="references",
        type="list",
        items="https URLs, data URLs or files",
        item=_INLINE.complaint,
        encode=_images,
    ),
)
_ALL: Final = Parameters(_TITLE, PARAMETERS)


def check(request: GenerationRequest) -> list[RequestFault]:
    """Name everything that getimg cannot do; whether the model exists only getimg knows."""
    return check_together(request, _ALL.check(request), (_INLINE.body_fault,))


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
    shows_lost=False,
    parameters=PARAMETERS,
    check=check,
    body=body,
    price=price,
    ours=NOTHING_OURS,
    inline=_INLINE,
)
