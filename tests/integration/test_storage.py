import contextlib
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3.session
import pytest

from worker.transport.spool import Spool
from worker.transport.storage import ObjectFacts, Storage, key_for
from worker.transport.storage_errors import ObjectMissing, StorageDamaged, StorageRefused, StorageUnavailable

BUCKET = "results"
SECRET = "never-shown-in-a-message"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the S3 server ended before it answered"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own server
            return
    pytest.fail(f"the S3 server did not answer within {seconds} s")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server on a free port, with one bucket."""
    home = tmp_path_factory.mktemp("s3")
    port = free_port()
    settings = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(home / "data"),
        "TMPDIR": str(home),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env={**os.environ, **settings}, cwd=home, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_it_answers(f"{url}/_ministack/health", process)
            session = boto3.session.Session("test", SECRET, region_name="us-east-1")
            client = session.client("s3", endpoint_url=url)
            client.create_bucket(Bucket=BUCKET)
            client.close()
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


@contextlib.contextmanager
def opened(endpoint_url: str | None, **options: Any) -> Iterator[Storage]:
    settings = {
        "bucket": BUCKET,
        "region": "us-east-1",
        "access_key": "test",
        "secret_key": SECRET,
        "connect_seconds": 2.0,
        "read_seconds": 10.0,
        "max_connections": 4,
    }
    with contextlib.closing(Storage(endpoint_url=endpoint_url, **{**settings, **options})) as storage:
        yield storage


@pytest.fixture
def storage(endpoint: str) -> Iterator[Storage]:
    with opened(endpoint) as storage:
        yield storage


def spooled(content: bytes, directory: Path) -> Spool:
    spool = Spool(directory=directory, max_bytes=100_000_000)
    spool.write(content)
    return spool


class Lying(Spool):
    """A spool whose bytes changed after they were hashed."""

    def rewound(self) -> Any:
        return io.BytesIO(super().rewound().read().swapcase())


@pytest.mark.parametrize("size", [10, 2_000_000, 20_000_000])
def test_an_object_comes_back_as_it_was_stored(storage: Storage, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    sha256 = hashlib.sha256(content).hexdigest()
    key = key_for("0198c0de-aaaa", 0, sha256, "png")
    with spooled(content, tmp_path) as spool:
        storage.put(key, spool, content_type="image/png", metadata={"custom_id": "a"})
        storage.put(key, spool, content_type="image/png", metadata={"custom_id": "a"})  # again changes nothing
    assert storage.head(key) == ObjectFacts(size, "image/png", sha256, {"custom_id": "a"})
    copy = io.BytesIO()
    assert storage.get_to(key, copy) == sha256
    assert copy.getvalue() == content


def test_bytes_that_do_not_match_their_hash_are_refused_and_not_stored(storage: Storage, tmp_path: Path) -> None:
    with Lying(directory=tmp_path, max_bytes=100) as spool:
        spool.write(b"paid image")
        with pytest.raises(StorageDamaged, match="received other bytes than were sent") as caught:
            storage.put("images/lie", spool, content_type="image/png", metadata={})
    assert (caught.value.code, caught.value.retryable) == ("storage_damaged", True)
    assert storage.head("images/lie") is None


def test_an_object_that_is_not_there_is_none_or_missing(storage: Storage) -> None:
    assert storage.head("images/none") is None
    with pytest.raises(ObjectMissing):
        storage.get_to("images/none", io.BytesIO())


def test_a_signed_link_gives_the_object_to_anybody(storage: Storage, tmp_path: Path) -> None:
    with spooled(b"shared", tmp_path) as spool:
        storage.put("images/shared", spool, content_type="image/png", metadata={})
    link = storage.presign("images/shared", 60)
    assert "X-Amz-Signature" in link
    with urllib.request.urlopen(link, timeout=5) as response:  # noqa: S310 - our own server
        assert response.read() == b"shared"
    with pytest.raises(ValueError, match="604800"):
        storage.presign("images/shared", 604_801)


def test_the_check_passes_where_the_bucket_is(storage: Storage) -> None:
    storage.check()


def test_a_missing_bucket_is_named_by_every_method_and_never_taken_for_a_missing_object(
    endpoint: str, tmp_path: Path
) -> None:
    with opened(endpoint, bucket="nowhere") as storage, spooled(b"x", tmp_path) as spool:
        for action in (
            storage.check,
            lambda: storage.put("k", spool, content_type="image/png", metadata={}),
            lambda: storage.head("k"),
            lambda: storage.get_to("k", io.BytesIO()),
        ):
            with pytest.raises(StorageRefused, match=r"'nowhere' .*does not exist.*GENQUEUE_S3_BUCKET") as caught:
                action()
            assert not caught.value.retryable


def test_a_dead_server_is_unavailable_and_its_message_holds_no_secret(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    with opened(f"http://user:{SECRET}@{place}") as storage, spooled(b"x", tmp_path) as spool:
        for action in (
            storage.check,
            lambda: storage.put("k", spool, content_type="image/png", metadata={}),
            lambda: storage.head("k"),
        ):
            with pytest.raises(StorageUnavailable, match=place) as caught:
                action()
            assert caught.value.retryable
            assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "expected", "words"),
    [
        ("503 Slow Down", StorageUnavailable, "broken for now"),
        ("403 Forbidden", StorageRefused, "AWS_ACCESS_KEY_ID"),
        ("301 Moved Permanently", StorageRefused, "GENQUEUE_S3_REGION"),
        ("400 Bad Request", StorageRefused, "refuses the request"),
    ],
)
def test_each_refusal_says_what_to_do(status: str, expected: type[Exception], words: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    with answering(answer) as url, opened(url) as storage, pytest.raises(expected, match=words):
        storage.check()


def test_an_object_whose_body_ends_early_is_unavailable() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf"
    with answering(answer) as url, opened(url) as storage, pytest.raises(StorageUnavailable):
        storage.get_to("k", io.BytesIO())


def test_an_endpoint_that_is_no_url_is_refused_by_its_setting() -> None:
    with pytest.raises(StorageRefused, match="GENQUEUE_S3_ENDPOINT_URL"), opened("nonsense"):
        pytest.fail("a storage was made")


def test_missing_credentials_are_refused_with_the_variables_to_set(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    wanted = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    with opened(endpoint, access_key=None, secret_key=None) as storage, pytest.raises(StorageRefused, match=wanted):
        storage.check()


def test_a_key_is_made_of_the_job_the_index_and_the_hash() -> None:
    assert key_for("job-1", 2, "a" * 64, "webp") == f"images/job-1/2-{'a' * 64}.webp"


@pytest.mark.parametrize(
    "parts",
    [
        ("../job", 0, "a" * 64, "png"),
        ("", 0, "a" * 64, "png"),
        ("job", -1, "a" * 64, "png"),
        ("job", 0, "A" * 64, "png"),
        ("job", 0, "a" * 63, "png"),
        ("job", 0, "a" * 64, ".png"),
    ],
)
def test_a_part_that_does_not_belong_in_a_key_is_an_error(parts: tuple[str, int, str, str]) -> None:
    with pytest.raises(ValueError, match=r"job_id|index|sha256|extension"):
        key_for(*parts)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives every request the same bytes."""
    script = (
        "import socket, sys\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    connection, _ = listener.accept()\n"
        "    connection.recv(65536)\n"
        "    connection.sendall(sys.argv[1].encode())\n"
        "    connection.shutdown(socket.SHUT_WR)\n"
        "    connection.close()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, answer.decode()], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()
