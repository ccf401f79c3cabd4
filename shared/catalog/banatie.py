"""Banatie: one image a call, usually made within it, otherwise polled; a hundred requests an hour and no bill.

Source: "Image Generation API" and its advanced part, https://banatie.app/docs/api/generations. One page says that
the enhancement template is not honoured yet; it is sent as asked.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from shared.catalog.parameter import Parameter, is_uuid
from shared.catalog.provider import NO_PRICES, NO_VALUES, DocumentedWindow, Parameters, Price, Provider, check_together
from shared.requests import GenerationRequest, RequestFault

_TITLE: Final = "Banatie"
_TEMPLATES: Final = ("general", "photorealistic", "illustration", "minimalist", "sticker", "product", "comic")
_ALIAS: Final = re.compile(r"@[A-Za-z0-9_-]{1,100}")
OURS: Final = {"meta": "the worker keeps the job's id there, by which an image is found when the answer is lost"}


def _reference_complaint(reference: str) -> str | None:
    if is_uuid(reference) or _ALIAS.fullmatch(reference):
        return None
    return "must be the UUID or the @alias of an image that Banatie already has, not a URL or a file"


PARAMETERS: Final = (
    # No limit is documented; 2000 characters is what the others with a short one allow.
    Parameter(wire="prompt", field="prompt", type="text", required=True, minimum=1, maximum=2000),
    # The reference says 1:1, the guide 16:9.
    Parameter(
        wire="aspectRatio",
        field="aspect_ratio",
        type="text",
        values=("1:1", "16:9", "9:16", "3:2", "21:9"),
        default="1:1",
        always=True,
    ),
    Parameter(
        wire="referenceImages",
        field="references",
        type="list",
        maximum=3,
        items="UUIDs or @aliases of images that Banatie has",
        item=_reference_complaint,
        encode=list,
    ),
    Parameter(wire="autoEnhance", field="options.autoEnhance", type="boolean", default=True),
    Parameter(
        wire="enhancementOptions",
        field="options.enhancementOptions",
        type="object",
        members=(
            Parameter(
                wire="enhancementOptions.template",
                field="options.enhancementOptions.template",
                type="text",
                values=_TEMPLATES,
                default="general",
            ),
        ),
    ),
    Parameter(wire="alias", field="options.alias", type="text", pattern=_ALIAS, example="@hero"),
    Parameter(wire="flowId", field="options.flowId", type="uuid"),
    Parameter(wire="flowAlias", field="options.flowAlias", type="text", pattern=_ALIAS, example="@hero"),
)
_ALL: Final = Parameters(_TITLE, PARAMETERS, OURS)


def _template_needs_enhancement(request: GenerationRequest) -> RequestFault | None:
    if request.options.get("autoEnhance") is False and "enhancementOptions" in request.options:
        return RequestFault("options.enhancementOptions", f"has no effect while autoEnhance is false ({_TITLE})")
    return None


def _flow_alias_needs_flow(request: GenerationRequest) -> RequestFault | None:
    if "flowAlias" in request.options and "flowId" not in request.options:
        return RequestFault("options.flowAlias", f"needs options.flowId as well ({_TITLE})")
    return None


def check(request: GenerationRequest) -> list[RequestFault]:
    """Name everything that Banatie cannot do; whether an alias or a flow exists only it knows."""
    return check_together(request, _ALL.check(request), (_template_needs_enhancement, _flow_alias_needs_flow))


def body(request: GenerationRequest, defaults: Mapping[str, Any] = NO_VALUES) -> dict[str, Any]:
    """Return the body of `POST /api/v1/generations`, to which the worker adds `meta`.

    Raises `ValueError` for any account default: Banatie has none.
    """
    return _ALL.body(request, defaults)


def price(
    request: GenerationRequest,  # noqa: ARG001 - asked like every provider
    prices: Mapping[str, Decimal] = NO_PRICES,  # noqa: ARG001 - the same
) -> Price:
    """Return 0 "unbilled", by declaration: the public API has no price, no balance and no answer that means unpaid."""
    return Price(Decimal(0), "unbilled")


PROVIDER: Final = Provider(
    name="banatie",
    title=_TITLE,
    kind="async",
    base_url="https://api.banatie.app",
    key_help_url="https://banatie.app/docs/api/generations",
    windows=(DocumentedWindow(100, 3600.0),),  # of one key, reads included
    concurrency=4,  # none documented; at up to 90 s a call three keep up with the hundred an hour
    timeout_seconds=150.0,  # the service itself gives its model 90 s, within the call
    quiet_seconds=120.0,  # the service gives its model 90 s, within the call or after it was given up
    max_images=1,
    unit="unbilled",
    parameters=PARAMETERS,
    check=check,
    body=body,
    price=price,
    ours=OURS,
    inline=None,
)
