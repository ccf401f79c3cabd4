"""getimg.ai v2: one request, one wait, one reply with links that die."""

from ops.simulator.wires.getimg.wire import GetimgWire

__all__ = ["GetimgWire"]
