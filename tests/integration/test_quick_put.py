"""The short cut into the bucket: taken where it is safe, and left to boto3's own call where it is not."""

import os
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.credentials import Credentials

from ops.stack import Endpoints
from tests.support.signing_store import SigningStore
from worker import event_loop
from worker.transport.digested import InMemory
from worker.transport.quick_put import Put, QuickPut
from worker.transport.spool import Spool
from worker.transport.storage import Storage, key_for
from worker.transport.storage_errors import StorageDamaged

KEY = "images/0198c0de-aaaa/0-00.png"
ABOUT: dict[str, Any] = {"content_type": "image/png", "metadata": {"genqueue-job": "0198c0de-aaaa"}}
SECRET = "a secret of nobody"
CERTIFICATES = httpx.create_ssl_context()


@contextmanager
def bucket(url: str, *, name: str = "b", key: str | None = "a", secret: str | None = SECRET) -> Iterator[Storage]:
    storage = Storage(
        bucket=name,
        endpoint_url=url,
        region="us-east-1",
        access_key=key,
        secret_key=secret,
        connect_seconds=2,
        read_seconds=5,
        max_connections=2,
    )
    yield storage
    storage.close()


def quickly(
    storage: Storage, *given: Any, seconds: float = 5.0, at: Sequence[float] = (), leave: bool = False
) -> list[Put]:
    """Take the short cut once for each of `given`, on one loop, at the times `at` of the cut's clock."""
    times, now = iter(at), [0.0]

    async def work() -> list[Put]:
        quick = QuickPut(connections=2, seconds=seconds, ssl_context=CERTIFICATES, clock=lambda: now[0])
        try:
            ends = []
            for stored in given:
                now[0] = next(times, 0.0)
                ends.append(await quick.put(storage, KEY, stored, **ABOUT))
                if leave and ends[-1] is Put.REFUSED:
                    quick.leave()
            return ends
        finally:
            await quick.close()

    return event_loop.run(work)


@pytest.fixture
def store() -> SigningStore:
    return SigningStore(SECRET)


@pytest.mark.parametrize("size", [10, 200_000, 300_000, 3_000_000])
def test_a_bucket_holds_what_came_by_the_short_cut_as_if_boto3_had_put_it(
    endpoints: Endpoints, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    given = {"name": endpoints.s3_bucket, "key": endpoints.s3_access_key, "secret": endpoints.s3_secret_key}
    with bucket(endpoints.s3_endpoint_url, **given) as storage, Spool(directory=tmp_path, max_bytes=size) as spool:
        spool.write(content)
        own = key_for("0198c0de-bbbb", 0, spool.sha256, "png")
        storage.put(own, spool, **ABOUT)
        assert quickly(storage, spool) == [Put.TAKEN]
        assert storage.head(KEY) == storage.head(own)
        whole = Spool(directory=tmp_path, max_bytes=size)
        assert storage.get_to(KEY, whole) == spool.sha256  # type: ignore[arg-type]
        whole.close()


def test_the_signature_is_the_one_that_aws_documents(store: SigningStore) -> None:
    with store.serve() as url, bucket(url) as storage:
        assert quickly(storage, InMemory(b"a picture")) == [Put.TAKEN]
    assert store.puts == ["url", "url"]  # the proof, and the picture
    (kept,) = store.objects.values()
    assert kept[0] == b"a picture"
    assert kept[1]["x-amz-meta-genqueue-job"] == "0198c0de-aaaa"
    assert "authorization" not in kept[1]


def test_a_bucket_is_asked_once_whether_it_refuses_damaged_bytes(store: SigningStore) -> None:
    with store.serve() as url, bucket(url) as storage:
        assert quickly(storage, *[InMemory(b"a picture")] * 3) == [Put.TAKEN] * 3
    assert len(store.puts) == 1 + 3
    assert [path for path in store.objects if "proof" in path] == []


def test_a_bucket_that_takes_damaged_bytes_this_way_gets_none_and_keeps_nothing_of_the_proof() -> None:
    store = SigningStore(SECRET, looks=False)
    with store.serve() as url, bucket(url) as storage:
        assert quickly(storage, *[InMemory(b"a picture")] * 2) == [Put.NOT_TRIED] * 2
    assert store.puts == ["url"]
    assert store.objects == {}


def test_a_bucket_whose_policy_forbids_signed_urls_is_left_to_boto3() -> None:
    store = SigningStore(SECRET, takes_signed_urls=False)
    with store.serve() as url, bucket(url) as storage:
        assert quickly(storage, *[InMemory(b"a picture")] * 2) == [Put.NOT_TRIED] * 2
        storage.put(KEY, InMemory(b"a picture"), **ABOUT)
    assert store.puts == ["url", "header"]


def test_a_refusal_that_boto3_does_not_get_ends_the_short_cut(store: SigningStore) -> None:
    store.answers = [(400, "BadDigest"), (403, "AccessDenied")]
    with store.serve() as url, bucket(url) as storage:
        assert quickly(storage, *[InMemory(b"a picture")] * 2, leave=True) == [Put.REFUSED, Put.NOT_TRIED]


@pytest.mark.parametrize(
    "answer",
    [
        *((503, "SlowDown"), (500, ""), (200, "InternalError"), (204, "")),
        *((429, ""), (409, "OperationAborted"), (400, "RequestTimeout"), (400, "BadDigest")),
    ],
)
def test_after_a_failure_the_short_cut_rests_half_a_minute(store: SigningStore, answer: tuple[int, str]) -> None:
    store.answers = [(400, "BadDigest"), answer]
    with store.serve() as url, bucket(url) as storage:
        ends = quickly(storage, *[InMemory(b"a picture")] * 3, at=(0.0, 29.0, 31.0))
    assert ends == [Put.FAILED, Put.NOT_TRIED, Put.TAKEN]


def test_a_bucket_that_hangs_is_waited_for_once(store: SigningStore) -> None:
    store.hangs = 0.5
    with store.serve() as url, bucket(url) as storage:
        assert quickly(storage, *[InMemory(b"a picture")] * 3, seconds=0.2) == [Put.NOT_TRIED] * 3
    assert len(store.puts) <= 1


def test_a_checksum_that_is_another_is_damage(store: SigningStore) -> None:
    store.states = b64encode(bytes(32)).decode()
    with store.serve() as url, bucket(url) as storage, pytest.raises(StorageDamaged, match="stored other bytes"):
        quickly(storage, InMemory(b"a picture"))


def test_a_proxy_and_a_long_body_are_left_to_boto3(store: SigningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.serve() as url, bucket(url) as storage:
        assert quickly(storage, InMemory(bytes(5_000_000))) == [Put.NOT_TRIED]
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "")
        assert quickly(storage, InMemory(b"a picture")) == [Put.NOT_TRIED]
    assert store.puts == []


def test_credentials_that_run_out_are_fetched_in_a_thread(store: SigningStore) -> None:
    asked: list[str] = []

    class Role:
        def refresh_needed(self) -> bool:
            asked.append(threading.current_thread().name)
            return True

        def get_frozen_credentials(self) -> Credentials:
            return Credentials("a", SECRET)

    with store.serve() as url, bucket(url) as storage:
        storage._credentials = Role()  # type: ignore[assignment]
        signed, threads = storage.signed_put, list[str]()

        def signing(*given: Any, **about: Any) -> Any:
            threads.append(threading.current_thread().name)
            return signed(*given, **about)

        storage.signed_put = signing  # type: ignore[method-assign]
        assert quickly(storage, InMemory(b"a picture")) == [Put.TAKEN]
    assert asked
    assert threading.main_thread().name not in threads
