"""Stores and networks that answer what they should not: nothing counts as stored that is not in the bucket."""

import contextlib
import io
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import pytest

from tests.integration.test_quick_put import ABOUT, CERTIFICATES, KEY, SECRET, bucket, quickly
from tests.support.raw_server import Peer, http, serving
from tests.support.signing_store import SigningStore
from tests.support.tls_front import tls_front
from worker import event_loop
from worker.transport.digested import InMemory
from worker.transport.quick_put import Put, QuickPut
from worker.transport.spool import SpoolError
from worker.transport.storage_errors import StorageUnavailable

PICTURE, LARGE, LONG = InMemory(b"a picture"), InMemory(bytes(600_000)), InMemory(bytes(3_500_000))
Answer = Callable[[Peer], Awaitable[None]]


class Unreadable:
    """Bytes on a disk that fails, or whose file was cut."""

    length = 3_000_000
    sha256_base64 = LONG.sha256_base64

    def __init__(self, there: int = 3_000_000, fails_at: int = 3_000_001) -> None:
        self.there, self.fails_at = there, fails_at

    def rewound(self) -> BinaryIO:
        fails_at = self.fails_at

        class File(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                if self.tell() + (size or 0) > fails_at:
                    raise OSError(5, "Input/output error")
                return super().read(size)

        return File(bytes(self.there))


def head_of(peer: Peer) -> dict[str, str]:
    head = peer.received.partition(b"\r\n\r\n")[0].decode()
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}


def taken(peer: Peer, *extra: str) -> bytes:
    return http("200 OK", b"", f"x-amz-checksum-sha256: {head_of(peer)['x-amz-checksum-sha256']}", *extra)


def attacked(
    *answers: Answer, given: Sequence[Any], seconds: float = 3.0, after: float = 0.0
) -> tuple[list[Put], list[Peer]]:
    """Put each of `given`; the store refuses the proof, and then does to each request the next of `answers`."""
    waiting = list(answers)

    async def script(peer: Peer) -> None:
        if answers[0] in {answer_early, read_too_late}:
            raw = peer.stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - anyio's, no SQL here
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while True:
            peer.received = b""
            while b"\r\n\r\n" not in peer.received:
                peer.received += await peer.stream.receive()
            if b"/submissions/proof" in peer.received:
                await peer.answer(http("400 Bad Request", b"<Error><Code>BadDigest</Code></Error>"))
                continue
            await waiting.pop(0)(peer)

    async def work() -> tuple[list[Put], list[Peer]]:
        now = [0.0]
        quick = QuickPut(connections=2, seconds=seconds, ssl_context=CERTIFICATES, clock=lambda: now[0])
        async with serving(script) as server:
            with bucket(f"http://127.0.0.1:{server.port}") as storage:
                ends = []
                for stored in given:
                    ends.append(await quick.put(storage, KEY, stored, **ABOUT))
                    now[0] += 60
            await anyio.sleep(after)
            await quick.close()
        return ends, server.peers

    return event_loop.run(work)


async def take(peer: Peer) -> None:
    await peer.read_request()
    await peer.stream.send(taken(peer))


async def hang_up(peer: Peer) -> None:
    await peer.stream.aclose()
    raise anyio.EndOfStream


async def answer_early(peer: Peer) -> None:
    await peer.stream.send(taken(peer))
    await anyio.sleep(0.3)


async def read_too_late(peer: Peer) -> None:
    await anyio.sleep(0.4)
    with contextlib.suppress(anyio.BrokenResourceError):
        await peer.read_request()


def test_an_answer_that_comes_before_the_last_byte_left_stores_nothing() -> None:
    assert attacked(answer_early, given=[LONG])[0] == [Put.FAILED]


def test_an_object_that_was_given_up_does_not_arrive_later() -> None:
    ends, peers = attacked(read_too_late, given=[LONG], seconds=0.2, after=0.5)
    assert ends == [Put.FAILED]
    assert max(len(peer.received) for peer in peers) < LONG.length


@pytest.mark.parametrize("stored", [PICTURE, LARGE])
def test_a_kept_connection_that_closes_as_the_next_object_leaves_costs_nothing(stored: InMemory) -> None:
    assert attacked(take, hang_up, take, given=[stored, stored])[0] == [Put.TAKEN, Put.TAKEN]


def test_an_answer_that_is_repeated_after_the_next_object_left_does_not_store_that() -> None:
    async def number(peer: Peer) -> None:
        await peer.read_request()
        await peer.stream.send(http("200 OK", b"", "x-amz-request-id: 7"))

    assert attacked(number, number, given=[PICTURE, InMemory(b"another")])[0] == [Put.TAKEN, Put.FAILED]


def test_a_bucket_that_neither_numbers_its_answers_nor_states_checksums_is_left() -> None:
    assert attacked(lambda peer: peer.answer(http("200 OK", b"")), given=[PICTURE])[0] == [Put.REFUSED]


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"<Error><Message>No</Message></Error>", b" " * 90_000]
)
def test_a_success_with_a_body_stores_nothing(body: bytes) -> None:
    async def answer(peer: Peer) -> None:
        await peer.read_request()
        await peer.stream.send(taken(peer).replace(b"content-length: 0", b"content-length: %d" % len(body)) + body)

    assert attacked(answer, given=[PICTURE])[0] == [Put.FAILED]


async def send_endless_body(peer: Peer) -> None:
    await peer.read_request()
    await peer.stream.send(taken(peer).replace(b"content-length: 0", b"transfer-encoding: chunked"))
    while True:
        await peer.stream.send(b"1000\r\n" + b" " * 4096 + b"\r\n")


async def redirect(peer: Peer) -> None:
    await peer.answer(http("307 Temporary Redirect", b"", "location: http://127.0.0.1:1/"))


async def flood_with_headers(peer: Peer) -> None:
    await peer.answer(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 100_000)


async def say_wait(peer: Peer) -> None:
    await peer.stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await peer.read_request()
    await peer.stream.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + taken(peer))


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (send_endless_body, Put.FAILED),
        (redirect, Put.REFUSED),
        (flood_with_headers, Put.FAILED),
        (hang_up, Put.FAILED),
        (say_wait, Put.TAKEN),
    ],
)
def test_an_odd_answer_is_a_success_only_if_it_is_one(answer: Answer, end: Put) -> None:
    assert attacked(answer, hang_up, given=[PICTURE])[0] == [end]


def test_a_bucket_that_hangs_on_a_deletion_holds_no_copy() -> None:
    store = SigningStore(SECRET, looks=False, hangs_on_delete=2.0)
    with store.serve() as url, bucket(url) as storage:
        began = time.monotonic()
        assert quickly(storage, PICTURE, PICTURE, seconds=0.3, at=(0.0, 60.0)) == [Put.NOT_TRIED] * 2
        assert time.monotonic() - began < 1.5
    assert store.puts == ["url"]


@pytest.mark.parametrize(
    ("stored", "said"), [(Unreadable(fails_at=1_000_000), "cannot be read"), (Unreadable(there=1_000_000), "was cut")]
)
def test_bytes_that_cannot_be_read_are_a_fault_of_the_disk_and_none_of_the_bucket(
    stored: Unreadable, said: str
) -> None:
    with SigningStore(SECRET).serve() as url, bucket(url) as storage:
        with pytest.raises(SpoolError, match=said):
            quickly(storage, stored)
        with pytest.raises(SpoolError, match=said):
            storage.put(KEY, stored, **ABOUT)


@pytest.mark.parametrize("place", ["http://somebody:secret@127.0.0.1:{}", "http://127.0.0.1:{}/a/prefix/"])
def test_an_address_with_a_user_or_a_prefix_is_signed_as_it_is_sent(place: str) -> None:
    store = SigningStore(SECRET)
    with store.serve() as url, bucket(place.format(url.rpartition(":")[2])) as storage:
        assert quickly(storage, PICTURE) == [Put.TAKEN]


def test_temporary_credentials_sign_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", SECRET), ("SESSION_TOKEN", "a token/+=")):
        monkeypatch.setenv(f"AWS_{name}", value)
    store = SigningStore(SECRET)
    with store.serve() as url, bucket(url, key=None, secret=None) as storage:
        assert quickly(storage, PICTURE) == [Put.TAKEN]


@pytest.mark.parametrize("named_by", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "a profile"])
def test_a_bucket_with_a_certificate_of_its_own_is_trusted_as_boto3_trusts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named_by: str
) -> None:
    store = SigningStore(SECRET)
    with store.serve() as url, tls_front(tmp_path, int(url.rpartition(":")[2])) as front:
        with bucket(f"https://127.0.0.1:{front.port}") as storage:
            assert quickly(storage, PICTURE) == [Put.NOT_TRIED]
        profiles = tmp_path / "config"
        profiles.write_text(f"[default]\nca_bundle = {front.ca_file}\n")
        name, value = ("AWS_CONFIG_FILE", profiles) if named_by == "a profile" else (named_by, front.ca_file)
        monkeypatch.setenv(name, str(value))
        with bucket(f"https://127.0.0.1:{front.port}") as storage:
            assert quickly(storage, PICTURE, LARGE, LONG) == [Put.TAKEN] * 3
            storage.put(KEY, PICTURE, **ABOUT)


def test_certificates_that_boto3_is_told_to_trust_but_that_are_missing_are_its_to_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with bucket("https://127.0.0.1:1") as storage:
        assert quickly(storage, PICTURE) == [Put.NOT_TRIED]
        with pytest.raises((StorageUnavailable, OSError)):
            storage.put(KEY, PICTURE, **ABOUT)


@pytest.mark.parametrize("body", [b"", b"<html>Please log in</html>"])
def test_boto3s_own_success_stores_nothing_that_the_bucket_does_not_state_to_have(body: bytes) -> None:
    async def answer(peer: Peer) -> None:
        while True:
            peer.received = b""
            await peer.answer(http("200 OK", b"" if peer.received.startswith(b"HEAD") else body))

    async def put() -> None:
        async with serving(answer) as server:
            with bucket(f"http://127.0.0.1:{server.port}") as storage, pytest.raises(StorageUnavailable, match="state"):
                await anyio.to_thread.run_sync(lambda: storage.put(KEY, PICTURE, **ABOUT))

    event_loop.run(put)
