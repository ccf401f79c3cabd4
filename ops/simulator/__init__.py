"""A server that speaks the providers' wires: real images, real signatures, real expiries, and a bill.

It is written from the providers' documents and imports nothing else of this repository, so that demo and
tests judge the queue by somebody else's reading of the wire and somebody else's bill. Start it with ``python
-m ops.simulator``, or in a test::

    with Simulator(SimulatorConfig(time_scale=100)).serve() as sim:
        ...  # sim.bloom_url, sim.getimg_url, sim.bill(), sim.put_faults([...])
"""

from ops.simulator.app import create_app
from ops.simulator.config import (
    AccountConfig,
    BanatieSettings,
    BloomSettings,
    GetimgSettings,
    OpenRouterSettings,
    PostEverywhereSettings,
    SimulatorConfig,
)
from ops.simulator.server import Simulator

__all__ = [
    "AccountConfig",
    "BanatieSettings",
    "BloomSettings",
    "GetimgSettings",
    "OpenRouterSettings",
    "PostEverywhereSettings",
    "Simulator",
    "SimulatorConfig",
    "create_app",
]
