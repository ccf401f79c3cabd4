"""Scope by scope, request by request: what the reference says of a token is what the API does with it."""

import re
from collections.abc import Iterator

import httpx
import pytest

from ops.dev.api_docs import scope_table
from producer import Client
from shared.settings import load
from shared.tokens import Scope
from tests.support.api import bearer, serving

TABLE = scope_table()
NOBODY = "00000000-0000-0000-0000-000000000000"
VALUES = {"job_id": NOBODY, "webhook_id": NOBODY, "name": "nobody", "index": "0"}
BODIES = {"resolve": {"decision": "fail"}, "choose": {"pictures": ["img_nobody"]}}


@pytest.fixture
def alice(database_url: str) -> Iterator[Client]:
    with Client(settings=load(database_url=database_url), connections=4) as opened:
        yield opened


def send(http: httpx.Client, method: str, path: str, header: dict[str, str]) -> str:
    """Return the problem's code, or "" for a success; nothing that is named exists."""
    where = re.sub(r"{(\w+)}", lambda found: VALUES[found[1]], path)
    body = BODIES.get(path.rpartition(":")[2], {}) if method in {"POST", "PATCH"} else None
    kind = {"content-type": "text/csv"} if path.endswith("/rows") else {}
    content = {"content": b"prompt\n"} if kind else {"json": body} if body is not None else {}
    query = {"batch": "nobody"} if path in {"/v1/jobs", "/v1/bill"} and method == "GET" else {}
    response = http.request(method, where, headers={**header, **kind}, params=query, **content)
    return "" if response.is_success else str(response.json()["code"])


def test_the_table_names_every_request_of_the_contract() -> None:
    assert len(TABLE) > 20
    assert {scope for scope in TABLE.values() if scope} >= {Scope.JOBS_READ, Scope.JOBS_WRITE, Scope.OPS}


def test_each_scope_opens_exactly_the_requests_that_the_table_gives_it(alice: Client) -> None:
    with serving(alice) as http:
        for scope in Scope:
            header = bearer(alice, scope, name=scope.replace(":", "-"), posts=10_000)
            for (method, path), needed in TABLE.items():
                refused = send(http, method, path, header) == "scope_missing"
                allowed = needed in {None, scope} or scope is Scope.ADMIN
                assert refused != allowed, f"{scope} on {method} {path}"


def test_without_a_token_nothing_of_the_table_is_open(alice: Client) -> None:
    with serving(alice) as http:
        assert {send(http, method, path, {}) for method, path in TABLE} == {"token_missing"}


def test_a_token_of_other_batches_touches_none_of_these(alice: Client) -> None:
    with serving(alice) as http:
        header = bearer(alice, Scope.ADMIN, prefix="team-", name="team")
        for method, path in TABLE:
            if "/batches/{name}" in path:
                assert send(http, method, path, header) == "batch_not_allowed", path
