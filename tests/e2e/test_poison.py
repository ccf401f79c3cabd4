"""A picture that kills whoever checks it costs some workers their lives, and no other job anything."""

import sys
from pathlib import Path

from tests.e2e.site import STOP_SECONDS, Site

LAUNCHER = Path(__file__).with_name("poison_worker.py")
SETTINGS = {"GENQUEUE_CRASHES_BEFORE_POISON": "1", "GENQUEUE_LEASE_SLACK_SECONDS": "120"}
BATCH = "poison"


def start(site: Site, name: str) -> None:
    environment = {**site.environment(), **SETTINGS}
    argv = [sys.executable, str(LAUNCHER), "worker", "--name", name]
    site.workers[name] = site.stack.spawn(name, argv, environment, stop_seconds=STOP_SECONDS)


def test_a_job_that_kills_its_worker_again_and_again_ends_as_poison_and_its_neighbours_succeed(
    empty_site: Site,
) -> None:
    site = empty_site
    for name in ("doomed-1", "doomed-2"):
        start(site, name)
    site.await_ticking(2)
    neighbours = [{"provider": "bloom", "prompt": f"{BATCH} {number}", "aspect_ratio": "1:1"} for number in range(6)]
    killer = {"provider": "bloom", "prompt": f"{BATCH} wide", "aspect_ratio": "16:9", "custom_id": "killer"}
    site.client.enqueue([*neighbours, killer], batch=BATCH)
    assert site.await_settled(BATCH, 150) == {"succeeded": 6, "failed": 1}
    job = site.client.story(site.client.find_job(f"{BATCH}/killer"))["job"]
    assert (job["state"], job["error_code"]) == ("failed", "poison")
    assert set(site.times_paid().values()) == {1}
    assert site.accepted() == 7
    (bill,) = site.client.bill(BATCH)
    assert (bill["settled"], bill["reserved"], bill["held"]) == (7, 0, 0)
    assert len(site.stored(BATCH)) == 6
    # What was bought can still be had, by whoever has a worker that survives it.
    plan = site.client.plan_retry(batch=BATCH, code="poison")
    assert (len(plan.ask), len(plan.buy), len(plan.buy_again)) == (1, 0, 0)
    site.stop_workers()
