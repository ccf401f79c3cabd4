"""OpenRouter's image router: one request, one long wait, the images inside the reply."""

from ops.simulator.wires.openrouter.wire import OpenRouterWire

__all__ = ["OpenRouterWire"]
