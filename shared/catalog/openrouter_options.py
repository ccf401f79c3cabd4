"""OpenRouter's own options: how a picture is drawn and encoded, who may draw it, and what is noted of it."""

import re
from typing import Any, Final

from shared.catalog.parameter import Parameter

_WORD: Final = re.compile(r"[a-z][a-z0-9_-]*")
_TIER: Final = re.compile(r"[1-9][0-9]*(\.[0-9]+)?K|[1-9][0-9]*")
_SORTS: Final = ("price", "throughput", "latency", "exacto")
_TRACE: Final = ("trace_id", "trace_name", "span_name", "generation_name", "parent_span_id")


def _slug_complaint(slug: Any) -> str | None:
    return None if isinstance(slug, str) and slug.strip() else "must be the slug of a provider, such as google-vertex"


def _slugs(name: str) -> Parameter:
    return Parameter(
        wire=f"provider.{name}",
        field=f"options.provider.{name}",
        type="list",
        items="provider slugs",
        item=_slug_complaint,
    )


_SORT: Final = Parameter(
    wire="provider.sort",
    field="options.provider.sort",
    type="text",
    values=_SORTS,
    loose=True,
    pattern=_WORD,
    example="price",
    members=(
        Parameter(
            wire="provider.sort.by",
            field="options.provider.sort.by",
            type="text",
            values=_SORTS,
            loose=True,
            pattern=_WORD,
            example="price",
        ),
        Parameter(
            wire="provider.sort.partition",
            field="options.provider.sort.partition",
            type="text",
            values=("model", "none"),
            loose=True,
            pattern=_WORD,
            example="model",
            default="model",
        ),
    ),
)
_PROVIDER: Final = Parameter(
    wire="provider",
    field="options.provider",
    type="object",
    members=(
        *map(_slugs, ("only", "order", "ignore")),
        _SORT,
        Parameter(
            wire="provider.allow_fallbacks", field="options.provider.allow_fallbacks", type="boolean", default=True
        ),
        Parameter(wire="provider.options", field="options.provider.options", type="object", open=True),
    ),
)

OPTIONS: Final = (
    Parameter(
        wire="resolution",
        field="options.resolution",
        type="text",
        values=("512", "768", "1K", "1.5K", "2K", "4K"),
        loose=True,
        pattern=_TIER,
        example="2K",
    ),
    Parameter(
        wire="quality",
        field="options.quality",
        type="text",
        values=("auto", "low", "medium", "high", "xhigh", "max"),
        loose=True,
        pattern=_WORD,
        example="high",
    ),
    Parameter(
        wire="background",
        field="options.background",
        type="text",
        values=("auto", "transparent", "opaque"),
        loose=True,
        pattern=_WORD,
        example="opaque",
    ),
    Parameter(wire="output_compression", field="options.output_compression", type="integer", minimum=0, maximum=100),
    _PROVIDER,
    Parameter(wire="user", field="options.user", type="text", minimum=1),
    Parameter(wire="session_id", field="options.session_id", type="text", minimum=1, maximum=256),
    Parameter(
        wire="trace",
        field="options.trace",
        type="object",
        open=True,
        members=tuple(
            Parameter(wire=f"trace.{name}", field=f"options.trace.{name}", type="text", minimum=1) for name in _TRACE
        ),
    ),
)
