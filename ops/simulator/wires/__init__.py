"""The providers that the simulator speaks for: one package each, listed here."""

from ops.simulator.exchange import SimulatedWire
from ops.simulator.wires.banatie import BanatieWire
from ops.simulator.wires.bloom import BloomWire
from ops.simulator.wires.getimg import GetimgWire
from ops.simulator.wires.openrouter import OpenRouterWire
from ops.simulator.wires.posteverywhere import PostEverywhereWire
from ops.simulator.world import World


def wires_of(world: World) -> tuple[SimulatedWire, ...]:
    """Return every wire, sharing ``world``."""
    return (
        BloomWire(world),
        GetimgWire(world),
        OpenRouterWire(world),
        PostEverywhereWire(world),
        BanatieWire(world),
    )
