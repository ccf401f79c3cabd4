"""A generation of OpenRouter: its images in the reply, and what ``GET /generation`` tells of it afterwards."""

import base64
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from ops.simulator.bill import BillLine
from ops.simulator.clock import iso
from ops.simulator.replies import SimulatedReply, exact_json
from ops.simulator.sale import Charge, Sale
from ops.simulator.wires.openrouter.models import MODELS

_IMAGE_TOKENS = 1056  # what one image counts as; the real figure differs by model
_UNKNOWN = (
    "app_id", "cache_discount", "external_user", "http_referer", "moderation_latency", "native_tokens_cached",
    "native_tokens_reasoning", "num_fetches", "num_input_audio_prompt", "num_media_prompt", "num_search_results",
    "preset_id", "provider_responses", "router", "service_tier", "upstream_id", "user_agent", "web_search_engine",
    "workspace_id",
)  # fmt: skip


@dataclass(slots=True)
class OpenRouterGeneration:
    """One finished generation; ``created`` is Unix seconds, ``seconds`` its simulated length.

    ``skew`` is how many real seconds the provider's clock was ahead when it began.
    """

    id: str
    key: str
    model: str
    created: float
    seconds: float
    images: int
    prompt_tokens: int
    streamed: bool
    skew: float = 0.0
    sale: Sale | None = None

    @property
    def is_open(self) -> bool:
        """Whether its reply is still under way."""
        return self.sale is not None and self.sale.held

    def as_row(self) -> dict[str, Any]:
        """Return it as JSON to be kept across a restart."""
        self.sale = None
        return asdict(self)

    def usage(self, charge: Charge | None) -> dict[str, Any]:
        """Return the ``usage`` of the reply; without ``charge`` it does not say what it cost."""
        completion = _IMAGE_TOKENS * self.images
        tokens = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }
        if charge is None:
            return tokens
        stated = {**tokens, "cost": charge.drawn, "is_byok": charge.byok}
        return {**stated, "cost_details": _cost_details(charge.amount)} if charge.byok else stated

    def as_json(self, line: BillLine | None) -> dict[str, Any]:
        """Return the ``data`` of ``GET /generation``: cancelled and free unless it has a ``line`` in the bill."""
        byok = line is not None and line.byok
        cost = line.amount if line and not byok else Decimal(0)
        completion = _IMAGE_TOKENS * self.images
        return {
            **dict.fromkeys(_UNKNOWN),
            "id": self.id,
            "api_type": "image",
            "cancelled": line is None,
            "created_at": iso(self.created + self.skew),
            "data_region": "global",
            "finish_reason": "stop" if line else "cancelled",
            "native_finish_reason": "stop" if line else "cancelled",
            "generation_time": round(self.seconds * 1000),
            "latency": round(self.seconds * 1000),
            "is_byok": byok,
            "upstream_inference_cost": line.amount if line and byok else None,
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


def _cost_details(price: Decimal) -> dict[str, Decimal]:
    """Return what a provider other than OpenRouter is paid, in USD."""
    return {
        "upstream_inference_cost": price,
        "upstream_inference_prompt_cost": Decimal(0),
        "upstream_inference_completions_cost": price,
    }


def image_item(content: bytes, media_type: str | None) -> dict[str, str]:
    """Return one image as the reply carries it; without ``media_type`` the field is left out."""
    item = {"b64_json": base64.b64encode(content).decode()}
    return {**item, "media_type": media_type} if media_type else item


def buffered(created: int, items: list[dict[str, str]], usage: dict[str, Any] | None) -> SimulatedReply:
    """Return the whole reply as one JSON document."""
    document: dict[str, Any] = {"created": created, "data": items}
    return SimulatedReply.json(200, document if usage is None else {**document, "usage": usage})


def streamed(created: int, items: list[dict[str, str]], usage: dict[str, Any] | None) -> SimulatedReply:
    """Return the reply as server-sent events: a partial image and a completed one each, then ``[DONE]``."""
    events: list[dict[str, Any]] = []
    for item in items:
        partial = {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": item["b64_json"]}
        completed = {"type": "image_generation.completed", "created": created, **item}
        events += [partial, completed if usage is None else {**completed, "usage": usage}]
    lines = [*(exact_json(event) for event in events), "[DONE]"]
    return SimulatedReply(200, "".join(f"data: {line}\n\n" for line in lines).encode(), "text/event-stream")
