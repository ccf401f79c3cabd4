"""Banatie: unbilled generations in a project, polled or awaited, their files on an open CDN."""

from ops.simulator.wires.banatie.wire import BanatieWire

__all__ = ["BanatieWire"]
