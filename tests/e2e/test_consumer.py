"""Celery's consumer meets a Redis restart with a message un-acked: the stock one dies of it, ours does not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from pydantic import SecretStr

from ops.stack.process import ServerProcess
from shared.broker import create_app
from shared.lifecycle import Stage
from tests.e2e.probe_worker import TASK
from tests.e2e.site import Site
from tests.e2e.spawning import IMPORTS

KINDS = {"stock": 1, "safe": 2}  # with the number of the Redis database that each has for itself


@pytest.fixture
def probes(empty_site: Site) -> Iterator[dict[str, ServerProcess]]:
    """Both consumers, each holding a message that is due in an hour."""
    script = str(Path(__file__).with_name("probe_worker.py"))
    started = {
        kind: empty_site.stack.spawn(f"probe-{kind}", [sys.executable, script, broker(empty_site, kind), kind], IMPORTS)
        for kind in KINDS
    }
    yield started
    for kind in KINDS:
        child = empty_site.stack._children.pop(f"probe-{kind}")
        child.process.send(9)
        child.process.wait()


def broker(site: Site, kind: str) -> str:
    return site.stack.endpoints.broker_url.removesuffix("0") + str(KINDS[kind])


def hold_unacked(site: Site, kind: str, app: Celery) -> None:
    app.send_task(TASK, args=["/nowhere"], queue=Stage.RECONCILE.value, countdown=3600)
    with redis.Redis.from_url(broker(site, kind)) as client:
        site.until(lambda: client.hlen("unacked"))


def test_a_redis_restart_with_a_message_unacked_ends_a_stock_consumer_and_not_ours(
    empty_site: Site, probes: dict[str, ServerProcess], tmp_path: Path
) -> None:
    apps = {kind: create_app(SecretStr(broker(empty_site, kind))) for kind in KINDS}
    for kind, app in apps.items():
        hold_unacked(empty_site, kind, app)
    empty_site.stack.kill("redis")
    empty_site.stack.restart("redis")
    assert probes["stock"].wait(20) == 1
    apps["safe"].send_task(TASK, args=[str(tmp_path / "touched")], queue=Stage.RECONCILE.value)
    empty_site.until((tmp_path / "touched").exists)
    assert probes["safe"].poll() is None
