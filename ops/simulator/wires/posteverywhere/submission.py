"""What PostEverywhere accepts in ``POST /ai/generate-image``: parameters, limits and prices of its guide."""

import json
from dataclasses import dataclass
from decimal import Decimal

from ops.simulator.exchange import Exchange
from ops.simulator.wires.posteverywhere.errors import Envelope

RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "4:5", "5:4")
CREDITS = {"nano-banana-pro": 15, "ideogram-v2": 8, "gemini-3-pro": 5, "flux-schnell": 1}
MOST_PROMPT = 2000


@dataclass(frozen=True, slots=True)
class PostEverywhereSubmission:
    """A valid request."""

    prompt: str
    ratio: str
    model: str

    @property
    def credits(self) -> Decimal:
        """The price of the one image in credits."""
        return Decimal(CREDITS[self.model])


def parse_submission(exchange: Exchange, envelope: Envelope, default_model: str | None) -> PostEverywhereSubmission:
    """Read a request body. Raises ``RefusalError`` with a 400 that names what is wrong."""
    try:
        document = json.loads(exchange.body)
    except ValueError:
        raise envelope.refuse("invalid_json", exchange) from None
    if not isinstance(document, dict):
        raise envelope.refuse("validation_error", exchange, message="Invalid body. Must be an object")
    prompt = document.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise envelope.refuse("validation_error", exchange, message="Invalid prompt. It is required")
    if len(prompt) > MOST_PROMPT:
        message = f"Invalid prompt. Must be at most {MOST_PROMPT} characters"
        raise envelope.refuse("validation_error", exchange, message=message)
    ratio, model = document.get("aspect_ratio", "1:1"), document.get("model", default_model)
    for name, value, allowed in (("aspect ratio", ratio, RATIOS), ("model", model, tuple(CREDITS))):
        if value not in allowed:
            message = f"Invalid {name}. Must be one of: {', '.join(allowed)}"
            raise envelope.refuse("validation_error", exchange, message=message)
    return PostEverywhereSubmission(prompt, str(ratio), str(model))
