"""One site for the whole tier: starting workers costs seconds, so those that a test leaves alive serve the next."""

from collections.abc import Iterator

import pytest

from ops.simulator import Simulator, SimulatorConfig
from ops.simulator.config import BloomSettings, GetimgSettings
from ops.stack import Home, Stack
from tests.e2e.site import Site, migrate, open_site

SIMULATED = SimulatorConfig(
    time_scale=20,
    pixels=64,
    bloom=BloomSettings(requests_per_minute=None, latency=(5.0, 20.0)),
    getimg=GetimgSettings(requests_per_minute=None, latency=(5.0, 20.0), link_seconds=6000),
)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        Simulator(SIMULATED).serve() as simulator,
        Stack(Home(tmp_path_factory.mktemp("e2e") / "home")) as stack,
    ):
        site = migrated(stack, simulator)
        yield site
        site.close()


def migrated(stack: Stack, simulator: Simulator) -> Site:
    migrate(stack)
    return open_site(stack, simulator)


@pytest.fixture
def empty_site(ground: Site) -> Site:
    """The site without workers; those that a test starts serve the next one."""
    ground.stop_workers()
    ground.simulator.reset()
    ground.simulator.put_faults({})
    return ground


@pytest.fixture
def site(ground: Site) -> Site:
    """The site with two workers that tick, those of the test before where they still live."""
    ground.simulator.reset()
    ground.simulator.put_faults({})
    for name in ("worker-1", "worker-2"):
        if name not in ground.workers:
            ground.start_worker(name)
    ground.until(lambda: all(ground.stack._children[name].process.poll() is None for name in ground.workers))
    ground.await_ticking(2)
    return ground
