"""What OpenAPI says of bodies that are read as prompt files are: one schema for rows, wherever they come from."""

from typing import Any, Final

from producer.api.bodies import XLSX
from shared import catalog
from shared.prompt_rows.ids import CUSTOM_ID_MAX_CHARS
from shared.prompt_rows.preparer import PRIORITY_MAX, PRIORITY_MIN
from shared.requests import GenerationRequest

_REQUEST: Final[dict[str, Any]] = GenerationRequest.model_json_schema()["properties"]
ROW: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["prompt", "provider"],
    "properties": {
        "custom_id": {"type": "string", "minLength": 1, "maxLength": CUSTOM_ID_MAX_CHARS},
        "provider": {"type": "string", "enum": list(catalog.names())},
        "priority": {"type": "integer", "minimum": PRIORITY_MIN, "maximum": PRIORITY_MAX, "default": 0},
        "metadata": {"type": "object", "description": "kept with the job and returned; never sent to a provider"},
        **_REQUEST,
    },
}
"""A row: one job."""
JOB_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    **ROW,
                    "properties": {
                        "batch": {"type": "string", "description": "default: the token's own batch"},
                        **ROW["properties"],
                    },
                },
                "example": {
                    "provider": "bloom",
                    "prompt": "a quiet harbour at dawn",
                    "n": 2,
                    "batch": "shop",
                    "custom_id": "order-1197-hero",
                },
            }
        },
    }
}
ROWS_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The raw file, streamed; no multipart form.",
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": "custom_id,provider,prompt\na,bloom,a harbour\n"},
            "application/x-ndjson": {"schema": {"type": "string", "description": "one JSON object a line"}},
            "application/jsonl": {"schema": {"type": "string", "description": "one JSON object a line"}},
            "text/plain": {"schema": {"type": "string", "description": "one prompt a line; needs `provider`"}},
            XLSX: {"schema": {"type": "string", "format": "binary", "description": "a workbook; its first sheet"}},
        },
    }
}
