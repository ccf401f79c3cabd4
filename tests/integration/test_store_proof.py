"""A store that does not verify what it is given is refused, by `doctor` and by a worker that starts."""

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ops.cli.bucket import least_policy
from ops.stack import Endpoints
from tests.support.careless_store import CarelessStore
from tests.support.command import Ran, genqueue
from tests.support.store_server import answering
from worker.transport.digested import InMemory
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageDamaged, StorageUnavailable
from worker.transport.store_proof import UnverifyingStoreError, prove

Run = Callable[..., Ran]
CARELESS: dict[str, tuple[dict[str, Any], str]] = {
    "looks at no checksum": ({}, "does not look whether its SHA-256 is right"),
    "states none": ({"looks": True, "states": "none"}, "states no SHA-256"),
    "states another": ({"looks": True, "states": base64.b64encode(bytes(32)).decode()}, "states another SHA-256"),
    "spoils what it keeps": ({"looks": True, "spoils": True}, "gives back other bytes"),
}


def storage_at(url: str, endpoints: Endpoints, name: str | None = None) -> Storage:
    return Storage(
        bucket=name or endpoints.s3_bucket,
        endpoint_url=url,
        region="us-east-1",
        access_key=endpoints.s3_access_key,
        secret_key=endpoints.s3_secret_key,
        connect_seconds=2,
        read_seconds=5,
        max_connections=2,
    )


@pytest.fixture
def real(endpoints: Endpoints) -> Iterator[Storage]:
    storage = storage_at(endpoints.s3_endpoint_url, endpoints)
    yield storage
    storage.close()


@pytest.fixture
def run(database_url: str, endpoints: Endpoints, tmp_path: Path) -> Run:
    def command(*arguments: str, **changes: str) -> Ran:
        environment = {**endpoints.environment(), "GENQUEUE_DATABASE_URL": database_url, "GENQUEUE_HOME": str(tmp_path)}
        return genqueue(*arguments, env={**environment, **changes}, cwd=tmp_path)

    return command


def test_a_store_that_verifies_is_taken_and_keeps_nothing_of_the_proof(real: Storage) -> None:
    def kept() -> list[str]:
        listed = real._client.list_objects_v2(Bucket=real._bucket, Prefix="submissions/proof-")
        return [str(each["Key"]) for each in listed.get("Contents", [])]

    prove(real)
    assert kept() == []


@pytest.mark.parametrize("case", CARELESS)
def test_a_store_that_cannot_be_relied_on_is_refused_with_what_it_did(case: str, endpoints: Endpoints) -> None:
    how, words = CARELESS[case]
    store = CarelessStore(**how)
    with store.serve() as url, pytest.raises(UnverifyingStoreError, match=words):
        prove(storage_at(url, endpoints))
    assert store.objects == {}


def test_neither_a_worker_nor_doctor_takes_a_careless_store(run: Run) -> None:
    with CarelessStore().serve() as url:
        worker = run("worker", GENQUEUE_S3_ENDPOINT_URL=url)
        assert worker.code == 1
        assert "does not look whether its SHA-256 is right" in worker.err
    with CarelessStore().serve() as url:
        found = json.loads(run("doctor", "--json", GENQUEUE_S3_ENDPOINT_URL=url).out)["findings"]
    (bucket,) = (each for each in found if each["check"] == "bucket")
    assert (bucket["ok"], "SHA-256" in bucket["seen"]) == (False, True)


def test_bucket_create_makes_the_bucket_once_and_prints_the_least_policy(run: Run, endpoints: Endpoints) -> None:
    for _again in range(2):
        ran = run("bucket", "create", GENQUEUE_S3_BUCKET="of-our-own")
        assert (ran.code, json.loads(ran.out)) == (0, least_policy("of-our-own"))
    prove(storage_at(endpoints.s3_endpoint_url, endpoints, "of-our-own"))
    assert run("bucket", "drop").code == 2


class _Nothing(BaseHTTPRequestHandler):
    """Answers everything with success and no word, as a gateway may."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT  # noqa: N815 - the name that the base class looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_no_step_of_an_object_in_parts_counts_as_done_by_an_empty_success(endpoints: Endpoints) -> None:
    with answering(_Nothing) as url:
        storage = storage_at(url, endpoints)
        steps: list[Callable[[], Any]] = [
            lambda: storage.begin_parts("submissions/x", content_type="text/plain", metadata={}),
            lambda: storage.put_part("submissions/x", "an upload", 1, b"a part"),
            lambda: storage.end_parts("submissions/x", "an upload", ["tag sum"]),
        ]
        for step in steps:
            with pytest.raises(StorageUnavailable, match="does not state"):
                step()
        storage.close()


def test_an_object_of_which_the_store_states_another_hash_does_not_count_as_stored(endpoints: Endpoints) -> None:
    with CarelessStore(states=base64.b64encode(bytes(32)).decode()).serve() as url:
        storage = storage_at(url, endpoints)
        with pytest.raises(StorageDamaged, match="states that it stored other bytes"):
            storage.put("images/x", InMemory(b"a picture"), content_type="image/png", metadata={})
        storage.close()
