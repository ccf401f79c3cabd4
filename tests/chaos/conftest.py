"""One ground for the whole tier; each test starts the workers it needs and leaves none."""

from collections.abc import Iterator

import pytest

from tests.chaos.ground import ChaosSite, open_ground


@pytest.fixture(scope="session")
def ground() -> Iterator[ChaosSite]:
    with open_ground() as site:
        yield site


@pytest.fixture
def site(ground: ChaosSite) -> Iterator[ChaosSite]:
    """The ground, whole and without workers, whatever file ran before in this process."""
    ground.stop_workers()
    ground.simulator.put_faults({})
    yield ground
    ground.points.disarm()
    ground.stop_workers()
