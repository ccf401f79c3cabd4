"""Kept answers on a real disk and in a real bucket: what has arrived outlives its process, whole or in part."""

import base64
import hashlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ops.stack import Endpoints
from tests.support.kept import in_bucket
from worker.evidence.replies import Replies, key_of, link_to, parse_link
from worker.evidence.reply_file import ReplyFile
from worker.transport.spool import SpoolError, SpoolFull, TooLarge
from worker.transport.storage import Storage
from worker.transport.storage_errors import ObjectMissing, StorageUnavailable

BODY = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def storage(endpoints: Endpoints) -> Iterator[Storage]:
    opened = Storage(
        bucket=endpoints.s3_bucket,
        endpoint_url=endpoints.s3_endpoint_url,
        region="us-east-1",
        access_key=endpoints.s3_access_key,
        secret_key=endpoints.s3_secret_key,
        connect_seconds=5,
        read_seconds=10,
        max_connections=4,
    )
    yield opened
    opened.close()


@pytest.fixture
def replies(tmp_path: Path, storage: Storage) -> Replies:
    return Replies(tmp_path / "replies", storage, max_bytes=1_000_000)


def kept(replies: Replies, body: bytes = BODY, *, seal: bool = True) -> UUID:
    submission_id = uuid4()
    reply = replies.open(submission_id)
    reply.write(body)
    if seal:
        reply.seal()
    reply.close()
    return submission_id


def content(replies: Replies, submission_id: UUID) -> bytes:
    with replies.read(submission_id) as file:
        return file.read()


def on_disk(tmp_path: Path) -> list[str]:
    return sorted(path.suffix for path in (tmp_path / "replies").iterdir())


def elsewhere(tmp_path: Path, storage: Storage) -> Replies:
    """Return the answers as another host sees them: the bucket alone."""
    return Replies(tmp_path / "another host", storage, max_bytes=1_000_000)


def test_a_sealed_answer_is_read_from_disk_and_from_the_bucket_until_it_is_forgotten(
    replies: Replies, storage: Storage, tmp_path: Path
) -> None:
    submission_id, another = uuid4(), elsewhere(tmp_path, storage)
    reply = replies.open(submission_id)
    for start in range(0, len(BODY), 100_000):
        reply.write(BODY[start : start + 100_000])
    assert (reply.length, reply.sha256_base64) == (
        len(BODY),
        base64.b64encode(hashlib.sha256(BODY).digest()).decode(),
    )
    reply.seal()
    assert not in_bucket(storage, submission_id)
    replies.upload(submission_id, reply)
    reply.close()
    assert in_bucket(storage, submission_id)
    assert content(replies, submission_id) == content(another, submission_id) == BODY
    facts = storage.head(key_of(submission_id))
    assert facts is not None
    assert (facts.sha256, facts.metadata) == (
        hashlib.sha256(BODY).hexdigest(),
        {"genqueue-submission": str(submission_id)},
    )
    replies.forget(submission_id)
    replies.forget(submission_id)
    assert on_disk(tmp_path) == []
    assert not in_bucket(storage, submission_id)
    with pytest.raises(ObjectMissing), replies.read(submission_id):
        pass


def test_what_a_dead_worker_left_is_found_and_uploaded_by_its_id_alone(
    replies: Replies, storage: Storage, tmp_path: Path
) -> None:
    assert replies.leftovers() == []
    submission_id = kept(replies)
    (tmp_path / "replies" / "stray.reply").touch()
    again = Replies(tmp_path / "replies", storage, max_bytes=1)
    assert again.leftovers() == [submission_id]
    again.upload(submission_id)
    assert content(elsewhere(tmp_path, storage), submission_id) == BODY
    with pytest.raises(SpoolError):
        again.upload(uuid4())


HALF = """
import sys, time
from pathlib import Path
from uuid import UUID
from worker.evidence.replies import Replies
reply = Replies(Path(sys.argv[1]), None, max_bytes=10_000_000).open(UUID(sys.argv[2]))
reply.write(b'{"data": 1}')
print("written", flush=True)
time.sleep(60)
"""


def test_every_byte_that_a_killed_worker_had_received_is_found_but_a_living_ones_is_left_alone(
    replies: Replies, repository: Path, tmp_path: Path
) -> None:
    submission_id = uuid4()
    command = [sys.executable, "-c", HALF, str(tmp_path / "replies"), str(submission_id)]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"written\n"
        assert replies.leftovers() == []
        with pytest.raises(SpoolError):
            replies.open(submission_id)
        worker.send_signal(signal.SIGKILL)
    assert replies.leftovers() == [submission_id]
    assert content(replies, submission_id) == b'{"data": 1}'


def test_an_answer_that_broke_off_stays_until_it_is_forgotten(replies: Replies, tmp_path: Path) -> None:
    submission_id = kept(replies, seal=False)
    assert on_disk(tmp_path) == [".part"]
    assert replies.leftovers() == [submission_id]
    replies.forget(submission_id)
    never_read = kept(replies, seal=False)
    replies.forget(never_read)
    assert on_disk(tmp_path) == []


def test_a_call_that_brought_nothing_leaves_nothing(replies: Replies, tmp_path: Path) -> None:
    kept(replies, b"", seal=False)
    assert on_disk(tmp_path) == []
    (tmp_path / "replies" / f"{uuid4()}.part").touch()
    assert replies.leftovers() == []
    assert on_disk(tmp_path) == []


def test_an_answer_beyond_the_cap_is_refused_and_what_fitted_stays(tmp_path: Path, storage: Storage) -> None:
    reply = Replies(tmp_path, storage, max_bytes=10).open(uuid4())
    reply.write(b"0123456789")
    with pytest.raises(TooLarge):
        reply.write(b"x")
    assert (reply.length, reply.rewound().read()) == (10, b"0123456789")
    reply.close()


def test_a_sealed_answer_takes_no_more(tmp_path: Path) -> None:
    reply = ReplyFile(tmp_path / "a.reply", max_bytes=10)
    reply.seal()
    with pytest.raises(ValueError, match="sealed"):
        reply.write(b"x")
    reply.close()


def test_a_directory_that_cannot_be_is_said_before_anything_is_sent(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError) as raised:
        Replies(tmp_path / "file", storage, max_bytes=10).open(uuid4())
    assert not isinstance(raised.value, SpoolFull)
    assert Replies(tmp_path / "nowhere", storage, max_bytes=10).leftovers() == []


def test_two_readers_at_once_do_not_move_each_other(replies: Replies, storage: Storage, tmp_path: Path) -> None:
    submission_id = kept(replies)
    replies.upload(submission_id)
    for place in (replies, elsewhere(tmp_path, storage)):
        together = threading.Barrier(2)
        found: list[bytes] = []

        def read(place: Replies = place, together: Any = together, found: list[bytes] = found) -> None:
            with place.read(submission_id) as file:
                first = file.read(10)
                together.wait(10)
                found.append(first + file.read())

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(10)
        assert found == [BODY, BODY]


def test_forgetting_while_it_is_read_does_not_disturb_the_reader(replies: Replies) -> None:
    submission_id = kept(replies)
    with replies.read(submission_id) as file:
        replies.forget(submission_id)
        assert file.read() == BODY


def test_what_the_reader_itself_cannot_find_is_its_own_error(replies: Replies) -> None:
    submission_id = kept(replies)
    with pytest.raises(FileNotFoundError), replies.read(submission_id):
        Path("/nowhere/at all").read_bytes()


def test_a_bucket_that_is_away_leaves_the_answer_on_the_disk(tmp_path: Path) -> None:
    away = Storage(
        bucket="b",
        endpoint_url="http://127.0.0.1:1",
        region="us-east-1",
        access_key="k",
        secret_key="s",
        connect_seconds=1,
        read_seconds=1,
        max_connections=1,
    )
    replies = Replies(tmp_path / "replies", away, max_bytes=1_000_000)
    submission_id = kept(replies)
    with pytest.raises(StorageUnavailable):
        replies.upload(submission_id)
    with pytest.raises(StorageUnavailable), replies.read(uuid4()):
        pass
    assert content(replies, submission_id) == BODY
    away.close()


def test_a_link_names_an_image_of_an_answer_and_no_other_link_does() -> None:
    submission_id = uuid4()
    assert parse_link(link_to(submission_id, 3)) == (submission_id, 3)
    for odd in (
        f"reply:{submission_id}",
        f"reply:{submission_id}/-1",
        "reply:x/0",
        "https://x.example/0",
        "",
        "reply:",
    ):
        assert parse_link(odd) is None
