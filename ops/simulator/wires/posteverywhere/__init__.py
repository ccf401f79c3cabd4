"""PostEverywhere: a credit-priced generator whose images live in a media library."""

from ops.simulator.wires.posteverywhere.wire import PostEverywhereWire

__all__ = ["PostEverywhereWire"]
