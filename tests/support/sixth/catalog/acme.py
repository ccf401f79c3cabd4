"""Acme: a provider that does not exist; one image a call, asked for by id."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from shared.catalog.parameter import Parameter
from shared.catalog.provider import NO_PRICES, NO_VALUES, Parameters, Price, Provider
from shared.requests import GenerationRequest

PARAMETERS: Final = (
    Parameter(wire="prompt", field="prompt", type="text", required=True, minimum=1, maximum=500),
    Parameter(wire="aspectRatio", field="aspect_ratio", type="text", values=("1:1", "16:9"), default="1:1"),
)
_LIST = Parameters("Acme", PARAMETERS)


def _body(request: GenerationRequest, defaults: Mapping[str, Any] = NO_VALUES) -> dict[str, Any]:
    return _LIST.body(request, defaults)


def _free(_request: GenerationRequest, _prices: Mapping[str, Decimal] = NO_PRICES) -> Price:
    return Price(Decimal(0), "unbilled")


PROVIDER: Final = Provider(
    name="acme",
    title="Acme",
    kind="async",
    base_url="https://api.acme.example",
    key_help_url="https://acme.example/keys",
    windows=(),
    concurrency=4,
    timeout_seconds=30,
    max_images=1,
    unit="unbilled",
    parameters=PARAMETERS,
    ours={},
    inline=None,
    check=_LIST.check,
    body=_body,
    price=_free,
)
