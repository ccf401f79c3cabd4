"""PostEverywhere: one image a call into a media library; credits by model.

Source: "Generate image" at https://developers.posteverywhere.ai/api/generate-image and the site's pages on limits.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from shared.catalog.parameter import Parameter
from shared.catalog.provider import NO_PRICES, NO_VALUES, NOTHING_OURS, DocumentedWindow, Parameters, Price, Provider
from shared.requests import GenerationRequest, RequestFault

_TITLE: Final = "PostEverywhere"
_CREDITS: Final = {
    "nano-banana-pro": Decimal(15),
    "ideogram-v2": Decimal(8),
    "gemini-3-pro": Decimal(5),
    "flux-schnell": Decimal(1),
}
_DEFAULT_MODEL: Final = "nano-banana-pro"

PARAMETERS: Final = (
    Parameter(wire="prompt", field="prompt", type="text", required=True, minimum=1, maximum=2000),
    Parameter(
        wire="aspect_ratio",
        field="aspect_ratio",
        type="text",
        values=("1:1", "16:9", "9:16", "4:3", "3:4", "4:5", "5:4"),
        default="1:1",
    ),
    # The vendor's own client names another default; the price must not depend on which of them is right.
    Parameter(
        wire="model",
        field="model",
        type="text",
        values=tuple(_CREDITS),
        default=_DEFAULT_MODEL,
        priced=True,
        prices=f"in credits: {', '.join(f'{model} {amount}' for model, amount in _CREDITS.items())}",
    ),
)
_ALL: Final = Parameters(_TITLE, PARAMETERS)


def check(request: GenerationRequest) -> list[RequestFault]:
    """Name everything that PostEverywhere cannot do."""
    return _ALL.check(request)


def body(request: GenerationRequest, defaults: Mapping[str, Any] = NO_VALUES) -> dict[str, Any]:
    """Return the body of `POST /ai/generate-image`.

    Raises `ValueError` for any account default: PostEverywhere has none.
    """
    return _ALL.body(request, defaults)


def price(
    request: GenerationRequest,
    prices: Mapping[str, Decimal] = NO_PRICES,  # noqa: ARG001 - asked like every provider; these are fixed
) -> Price:
    """Return the credits of the model: 15, 8, 5 or 1."""
    return Price(_CREDITS[request.model or _DEFAULT_MODEL], "credit")


PROVIDER: Final = Provider(
    name="posteverywhere",
    title=_TITLE,
    kind="sync",
    asked_again=True,
    base_url="https://app.posteverywhere.ai/api/v1",
    key_help_url="https://developers.posteverywhere.ai",
    # Of one key. For generations the pages say 50 in 5 minutes, 60 an hour, 200 an hour; 50 an hour keeps them all.
    windows=(DocumentedWindow(60, 60.0), DocumentedWindow(1000, 3600.0), DocumentedWindow(50, 3600.0, "submit")),
    concurrency=1,  # its media list shows no prompt: only one call in the air can be told from the others
    timeout_seconds=120.0,  # 2 to 8 s are documented; the vendor's own client waits this long
    quiet_seconds=120.0,  # none documented; no call of theirs was seen to take longer
    max_images=1,
    unit="credit",
    parameters=PARAMETERS,
    check=check,
    body=body,
    price=price,
    ours=NOTHING_OURS,
    inline=None,
)
