"""Redis changes its role or its place under the workers: they go on with the new primary, and pay for nothing twice."""

from pathlib import Path

from tests.e2e.site import Site
from tests.support.command import Ran, genqueue
from tests.support.redis_servers import NAME, PASSWORD, RedisServers, redis_servers
from tests.support.tcp_proxy import TcpProxy


def started(site: Site, url: str) -> int:
    """Start a worker on that broker, await that it consumes, and return its process id."""
    site.sql("DELETE FROM worker")
    site.start_worker("elsewhere", GENQUEUE_BROKER_URL=url, GENQUEUE_LOG_FORMAT="json")
    site.await_ticking(1)
    site.until(lambda: asked(site, url, "health").code == 0, 60)
    return site.pids()["elsewhere"]


def asked(site: Site, url: str, *command: str) -> Ran:
    return genqueue(
        *command, env={**site.stack.endpoints.environment(), **site.environment(), "GENQUEUE_BROKER_URL": url}
    )


def goes_on(site: Site, url: str, pid: int) -> None:
    site.enqueue("after", bloom=3)
    assert site.await_settled("after", 90) == {"succeeded": 3}
    site.until(lambda: asked(site, url, "health").code == 0, 60)
    assert site.pids()["elsewhere"] == pid
    assert PASSWORD not in site.log("elsewhere")
    assert site.accepted() == len(site.times_paid())
    site.stop_workers()


def test_a_primary_that_becomes_a_replica_ends_no_worker_and_is_used_again_as_primary(empty_site: Site) -> None:
    site = empty_site
    url = site.stack.endpoints.broker_url
    pid = started(site, url)
    site.enqueue("demoted", bloom=15)
    site.await_paid(3)
    with site.redis() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        site.until(lambda: site.log("elsewhere").count("broker_is_replica") > 1)
        client.execute_command("REPLICAOF", "NO", "ONE")
    assert site.await_settled("demoted", 120) == {"succeeded": 15}
    goes_on(site, url, pid)


def promote(servers: RedisServers, old: int, new: int) -> None:
    with servers.client(new) as promoted, servers.client(old) as demoted:
        promoted.execute_command("REPLICAOF", "NO", "ONE")
        demoted.execute_command("REPLICAOF", "127.0.0.1", str(new))


def test_an_address_that_leads_to_a_new_primary_is_followed_although_the_old_one_lives(
    empty_site: Site, tmp_path: Path
) -> None:
    with redis_servers(tmp_path) as servers:
        old = servers.start()
        new = servers.start(replica_of=old)
        with TcpProxy(old).serve() as address:
            url = f"redis://:{PASSWORD}@127.0.0.1:{address.port}/0"
            pid = started(empty_site, url)
            address.behind = new
            promote(servers, old, new)
            goes_on(empty_site, url, pid)


def test_a_new_primary_that_sentinels_have_chosen_is_followed(empty_site: Site, tmp_path: Path) -> None:
    with redis_servers(tmp_path) as servers:
        old = servers.start()
        servers.start(replica_of=old)
        dead, watching = servers.watch(old), servers.watch(old)
        servers.kill(dead)  # the first that is asked
        hosts = f"sentinel://:{PASSWORD}@127.0.0.1:{dead};sentinel://127.0.0.1:{watching}/0"
        url = f"{hosts}?master_name={NAME}"
        pid = started(empty_site, url)
        seen = asked(empty_site, url, "doctor", "--no-settings").out
        assert "messages waiting, noeviction" in " ".join(seen.split())
        servers.kill(old)
        goes_on(empty_site, url, pid)
