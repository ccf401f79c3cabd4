"""A worker whose Redis user may do only what it needs, over TLS that a private authority vouches for."""

from pathlib import Path

from tests.e2e.site import Site
from tests.integration.test_broker_check import RIGHTS
from tests.support.command import genqueue
from tests.support.tcp_proxy import redis_socket
from tests.support.tls_front import tls_front


def test_a_worker_works_with_narrow_rights_over_tls(empty_site: Site, tmp_path: Path) -> None:
    site = empty_site
    with site.redis() as client:
        client.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", *RIGHTS.split())
    with tls_front(tmp_path, redis_socket(site.stack.endpoints.broker_url)) as front:
        url = f"rediss://narrow:secret@127.0.0.1:{front.port}/0"
        broker = {"GENQUEUE_BROKER_URL": url, "GENQUEUE_BROKER_CA_FILE": str(front.ca_file)}
        site.sql("DELETE FROM worker")
        site.start_worker("narrow", **broker, GENQUEUE_LOG_FORMAT="json")
        site.await_ticking(1)
        environment = {**site.stack.endpoints.environment(), **site.environment(), **broker}
        site.until(lambda: genqueue("health", env=environment).code == 0, 60)
        site.enqueue("narrow", bloom=3)
        assert site.await_settled("narrow") == {"succeeded": 3}
        log = site.log("narrow")
        site.stop_workers()
    assert "broker_away" not in log
    assert "broker_refuses" not in log
