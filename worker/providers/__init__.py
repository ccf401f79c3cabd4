"""The wires: one file per provider that translates and does nothing else; the vocabulary lies in `contract`.

The wire of a provider is `WIRE` in the module of its name; adding a provider is adding such a file.
"""

from importlib import import_module

from worker.providers.contract import Wire, WireSettings

__all__ = ["Wire", "WireSettings", "wire_for"]


def wire_for(provider: str, settings: WireSettings) -> Wire:
    """Return the wire of `provider`, ready to speak for one account."""
    wire: type[Wire] = import_module(f"{__name__}.{provider}").WIRE
    return wire(settings)
