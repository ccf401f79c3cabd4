"""A generation of OpenRouter: its images in the reply, and what ``GET /generation`` tells of it afterwards."""

import base64
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from ops.simulator.bill import BillLine
from ops.simulator.clock import iso
from ops.simulator.replies import Reply, exact_json
from ops.simulator.sale import Sale
from ops.simulator.wires.openrouter.models import MODELS

_IMAGE_TOKENS = 1056  # what one image counts as; the real figure differs by model
_UNKNOWN = (
    "app_id", "cache_discount", "external_user", "http_referer", "moderation_latency", "native_tokens_cached",
    "native_tokens_reasoning", "num_fetches", "num_input_audio_prompt", "num_media_prompt", "num_search_results",
    "preset_id", "provider_responses", "router", "service_tier", "upstream_id", "upstream_inference_cost",
    "user_agent", "web_search_engine", "workspace_id",
)  # fmt: skip


@dataclass(slots=True)
class Generation:
    """One finished generation; ``created`` is Unix seconds, ``seconds`` its simulated length."""

    id: str
    key: str
    model: str
    created: float
    seconds: float
    images: int
    prompt_tokens: int
    streamed: bool
    sale: Sale | None = None

    @property
    def is_open(self) -> bool:
        """Whether its reply is still under way."""
        return self.sale is not None and self.sale.held

    def as_row(self) -> dict[str, Any]:
        """Return it as JSON to be kept across a restart."""
        self.sale = None
        return asdict(self)

    def usage(self, cost: Decimal | None) -> dict[str, Any]:
        """Return the ``usage`` of the reply; ``cost`` is in USD, ``None`` leaves it out."""
        completion = _IMAGE_TOKENS * self.images
        tokens = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }
        return tokens if cost is None else {**tokens, "cost": cost, "is_byok": False}

    def as_json(self, line: BillLine | None) -> dict[str, Any]:
        """Return the ``data`` of ``GET /generation``: cancelled and free unless it has a ``line`` in the bill."""
        cost = line.amount if line else Decimal(0)
        completion = _IMAGE_TOKENS * self.images
        return {
            **dict.fromkeys(_UNKNOWN),
            "id": self.id,
            "api_type": "image",
            "cancelled": line is None,
            "created_at": iso(self.created),
            "data_region": "global",
            "finish_reason": "stop" if line else "cancelled",
            "native_finish_reason": "stop" if line else "cancelled",
            "generation_time": round(self.seconds * 1000),
            "latency": round(self.seconds * 1000),
            "is_byok": False,
            "model": self.model,
            "native_tokens_completion": completion,
            "native_tokens_completion_images": completion,
            "native_tokens_prompt": self.prompt_tokens,
            "num_media_completion": self.images,
            "origin": "",
            "provider_name": MODELS[self.model].provider_name,
            "streamed": self.streamed,
            "tokens_completion": completion,
            "tokens_prompt": self.prompt_tokens,
            "total_cost": cost,
            "usage": cost,
        }


def image_item(content: bytes, media_type: str | None) -> dict[str, str]:
    """Return one image as the reply carries it; without ``media_type`` the field is left out."""
    item = {"b64_json": base64.b64encode(content).decode()}
    return {**item, "media_type": media_type} if media_type else item


def buffered(created: int, items: list[dict[str, str]], usage: dict[str, Any] | None) -> Reply:
    """Return the whole reply as one JSON document."""
    document: dict[str, Any] = {"created": created, "data": items}
    return Reply.json(200, document if usage is None else {**document, "usage": usage})


def streamed(created: int, items: list[dict[str, str]], usage: dict[str, Any] | None) -> Reply:
    """Return the reply as server-sent events: a partial image and a completed one each, then ``[DONE]``."""
    events: list[dict[str, Any]] = []
    for item in items:
        partial = {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": item["b64_json"]}
        completed = {"type": "image_generation.completed", "created": created, **item}
        events += [partial, completed if usage is None else {**completed, "usage": usage}]
    lines = [*(exact_json(event) for event in events), "[DONE]"]
    return Reply(200, "".join(f"data: {line}\n\n" for line in lines).encode(), "text/event-stream")
