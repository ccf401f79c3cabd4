"""The wires: one file per provider that translates and does nothing else; the vocabulary lies in `contract`."""

from worker.providers.banatie import Banatie
from worker.providers.bloom import Bloom
from worker.providers.contract import Wire, WireSettings
from worker.providers.getimg import Getimg
from worker.providers.openrouter import OpenRouter
from worker.providers.posteverywhere import PostEverywhere

__all__ = ["Wire", "WireSettings", "wire_for"]

_WIRES: dict[str, type[Wire]] = {
    "banatie": Banatie,
    "bloom": Bloom,
    "getimg": Getimg,
    "openrouter": OpenRouter,
    "posteverywhere": PostEverywhere,
}


def wire_for(provider: str, settings: WireSettings) -> Wire:
    """Return the wire of `provider`, ready to speak for one account."""
    return _WIRES[provider](settings)
