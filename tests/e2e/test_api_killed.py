"""Requests sent twice while the API is killed and PostgreSQL restarted: one job, one purchase, every caller its id."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import httpx
import pytest

from ops.stack.ports import free_port
from shared.db.tokens import TokenTerms
from shared.tokens import BACKEND
from tests.e2e.site import Site
from tests.e2e.spawning import COMMAND, IMPORTS

JOBS = int(os.environ.get("DOORS_JOBS", "32"))
"""Requests, each sent twice; `make doors-long` sends 10,000."""
SENDERS = 16
KILLS = 3
PATIENCE_SECONDS = 120


class Senders:
    """Callers that send each request twice, and again after any answer that is no success."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20)
        self._lock = threading.Lock()
        self.answered = 0
        self.failed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def twice(self, number: int) -> set[str]:
        """Return the ids that both requests for one job were answered with."""
        row = {"provider": "bloom", "prompt": f"picture {number}", "custom_id": str(number), "batch": "killed"}
        return {self._send(row) for _ in range(2)}

    def _send(self, row: dict[str, Any]) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                response = self._http.post("/v1/jobs", json=row)
                found = str(response.raise_for_status().json()["id"])
            except httpx.HTTPError:
                assert time.monotonic() < deadline, "the API did not come back"
                self._count(failed=1)
                time.sleep(0.05)
            else:
                self._count(answered=1)
                return found

    def _count(self, *, answered: int = 0, failed: int = 0) -> None:
        with self._lock:
            self.answered += answered
            self.failed += failed


@pytest.fixture
def senders(site: Site) -> Iterator[Senders]:
    port = free_port(set())
    environment = {**IMPORTS, "GENQUEUE_HOME": str(site.stack.home.path)}
    site.stack.spawn("api", [*COMMAND, "api", "--port", str(port)], environment)
    token = site.client.create_token(TokenTerms("killed", frozenset(BACKEND), None, posts_per_second=10_000))[1]
    with Senders(f"http://127.0.0.1:{port}", token.get_secret_value()) as opened:
        yield opened
    child = site.stack._children.pop("api")
    child.process.send(9)
    child.process.wait()


@pytest.mark.timeout(300 + 3 * JOBS)
def test_requests_sent_twice_through_a_killed_api_buy_once(site: Site, senders: Senders) -> None:
    with ThreadPoolExecutor(SENDERS) as pool:
        sent = [pool.submit(senders.twice, number) for number in range(JOBS)]
        for kill in range(1, KILLS + 1):
            part = 2 * JOBS * kill // (KILLS + 2)
            site.until(lambda part=part: senders.answered >= part, PATIENCE_SECONDS + JOBS)  # type: ignore[misc]
            site.stack.kill("api")
        site.stack.restart("postgres")
        site.until(lambda: all(one.done() for one in sent), PATIENCE_SECONDS + JOBS)
    ids = [one.result() for one in sent]
    assert all(len(both) == 1 for both in ids)
    assert len(set.union(*ids)) == JOBS
    assert senders.failed > 0
    assert site.await_settled("killed", PATIENCE_SECONDS + JOBS) == {"succeeded": JOBS}
    assert set(site.times_paid().values()) == {1}
    assert site.accepted() == JOBS
