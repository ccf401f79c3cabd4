"""Two homes on one machine: each batch is finished by its own workers, and nothing of one is seen in the other."""

from pathlib import Path

from ops.simulator import Simulator
from ops.stack import Home, Stack
from tests.e2e.conftest import SIMULATED, migrated
from tests.e2e.site import Site


def prompts_seen(site: Site) -> set[str]:
    return {entry["hint"].split()[0] for entry in site.simulator.requests(10_000, route="submit")}


def test_two_homes_finish_their_batches_and_see_nothing_of_each_other(site: Site, tmp_path: Path) -> None:
    with Simulator(SIMULATED).serve() as simulator, Stack(Home(tmp_path / "second")) as stack:
        second = migrated(stack, simulator)
        second.start_worker("worker-1")
        jobs = {site: site.enqueue("first", getimg=10, bloom=10), second: second.enqueue("second", getimg=12, bloom=8)}
        for here, batch in ((site, "first"), (second, "second")):
            assert here.await_settled(batch, 120) == {"succeeded": jobs[here]}
            assert here.accepted() == jobs[here]
            assert prompts_seen(here) == {batch}
            assert len(here.stored(batch)) == jobs[here]
        assert [row["name"] for row in second.client.batches()] == ["second"]
        second.close()
