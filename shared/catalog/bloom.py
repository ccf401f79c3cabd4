"""Bloom: brand-bound images, one to five variants a call, answered at once and polled.

Source: the operation `images.generate` of https://www.trybloom.ai/api/v1/spec.json, and
https://www.trybloom.ai/docs for the request limit.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from shared.catalog.parameter import Parameter, is_uuid
from shared.catalog.provider import NO_PRICES, NO_VALUES, NOTHING_OURS, DocumentedWindow, Parameters, Price, Provider
from shared.requests import GenerationRequest, RequestFault

_TITLE: Final = "Bloom"
_RATIOS: Final = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_CREDITS: Final = {"2K": Decimal(1), "4K": Decimal(2)}  # an image, whatever the model


def _reference_complaint(reference: str) -> str | None:
    return None if is_uuid(reference) else "must be the UUID of an image that Bloom already has, not a URL or a file"


PARAMETERS: Final = (
    Parameter(wire="prompt", field="prompt", type="text", required=True, minimum=1, maximum=2000),
    Parameter(wire="brandSessionId", field="options.brandSessionId", type="uuid", required=True, from_account=True),
    Parameter(wire="aspectRatio", field="aspect_ratio", type="text", values=_RATIOS),
    Parameter(
        wire="imageSize",
        field="size",
        type="text",
        values=tuple(_CREDITS),
        default="2K",
        priced=True,
        prices="an image: 2K 1 credit, 4K 2 credits",
    ),
    Parameter(wire="model", field="model", type="text", values=("fast", "standard", "pro"), default="pro"),
    Parameter(
        wire="variantCount",
        field="n",
        type="integer",
        minimum=1,
        maximum=5,
        default=1,
        priced=True,
        prices="each image is charged",
    ),
    Parameter(
        wire="referenceImageIds",
        field="references",
        type="list",
        maximum=10,
        items="UUIDs of images that Bloom has",
        item=_reference_complaint,
        encode=list,
    ),
)
_ALL: Final = Parameters(_TITLE, PARAMETERS)


def check(request: GenerationRequest) -> list[RequestFault]:
    """Name everything that Bloom cannot do; a missing brand is no fault, the account may have one."""
    return _ALL.check(request)


def body(request: GenerationRequest, defaults: Mapping[str, Any] = NO_VALUES) -> dict[str, Any]:
    """Return the body of `POST /images/generations`; `defaults` may hold the account's `brandSessionId`.

    Raises `ValueError` if neither names a brand.
    """
    return _ALL.body(request, defaults)


def price(
    request: GenerationRequest,
    prices: Mapping[str, Decimal] = NO_PRICES,  # noqa: ARG001 - asked like every provider; Bloom's is fixed
) -> Price:
    """Return the credits: 1 for an image in 2K, 2 in 4K; `fast` may cost less, Bloom gives no figure."""
    return Price(_CREDITS[request.size or "2K"] * request.n, "credit")


PROVIDER: Final = Provider(
    name="bloom",
    title=_TITLE,
    kind="async",
    base_url="https://www.trybloom.ai/api/v1",
    key_help_url="https://www.trybloom.ai/docs/api/authentication",
    windows=(DocumentedWindow(120, 60.0),),  # of one key, reads included
    concurrency=8,  # none documented; submits are answered at once
    timeout_seconds=60.0,
    quiet_seconds=60.0,  # none documented; the row is written with the 202
    max_images=5,
    unit="credit",
    parameters=PARAMETERS,
    check=check,
    body=body,
    price=price,
    ours=NOTHING_OURS,
    inline=None,
)
