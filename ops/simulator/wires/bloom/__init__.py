"""Bloom: asynchronous generations, polled singly or fifty at once, delivered through a redirect."""

from ops.simulator.wires.bloom.wire import BloomWire

__all__ = ["BloomWire"]
