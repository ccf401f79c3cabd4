"""Paid POSTs of a process that stood still: what arrived meanwhile is read, and silence still ends at the deadline."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.support.raw_server import Peer, http, serving
from tests.support.waiting import until
from worker import event_loop
from worker.transport.paid_post import Lost, PaidPost, boot_clock

ROOT: Final = Path(__file__).parents[2]
SECONDS: Final = 1.0
PAY: Final = """
import sys
from worker import event_loop
from worker.transport.paid_post import PaidPost, boot_clock

async def pay():
    post = PaidPost(timeout_seconds=float(sys.argv[2]), connect_seconds=1)
    print("ready", flush=True)
    outcome = await post.send(sys.argv[1], headers={}, json={}, send_before=boot_clock() + 60)
    print(type(outcome).__name__, outcome.status, outcome.body.decode())

event_loop.run(pay)
"""


@contextmanager
def paying(url: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a process of its own that pays once and prints what came of it."""
    argv = [sys.executable, "-c", PAY, url, str(SECONDS)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def read_request(peer: socket.socket) -> None:
    received = b""
    while not received.endswith(b"\r\n\r\n{}"):
        received += peer.recv(4096)


def stand_still(process: "subprocess.Popen[str]", seconds: float) -> None:
    """Let a stopped process's time pass, and wake it."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, seconds + 5)
    process.send_signal(signal.SIGCONT)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        opened.settimeout(20)
        yield opened


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/pay"


@pytest.mark.parametrize("beyond", [0.3, 1.5])
def test_an_answer_that_arrived_while_its_process_was_frozen_is_read_beyond_the_deadline(
    listener: socket.socket, beyond: float
) -> None:
    answer = http("202 Accepted", b"bought")
    with paying(url_of(listener)) as process:
        peer, _ = listener.accept()
        with peer:
            read_request(peer)
            process.send_signal(signal.SIGSTOP)
            peer.sendall(answer[:30])
            peer.sendall(answer[30:])
            stand_still(process, SECONDS + beyond)
            said, _ = process.communicate(timeout=20)
    assert said.split() == ["ready", "PaidReply", "202", "bought"]


def test_a_frozen_process_whose_provider_hung_up_says_that_the_answer_is_lost(listener: socket.socket) -> None:
    with paying(url_of(listener)) as process:
        peer, _ = listener.accept()
        with peer:
            read_request(peer)
            process.send_signal(signal.SIGSTOP)
        stand_still(process, SECONDS + 1.5)
        said, _ = process.communicate(timeout=20)
    assert said.split() == ["ready", "Lost", "None"]


def test_a_silent_server_is_given_up_at_the_deadline() -> None:
    async def silent(peer: Peer) -> None:
        await peer.read_request()
        await anyio.sleep_forever()

    async def pay() -> tuple[object, float]:
        post = PaidPost(timeout_seconds=0.4, connect_seconds=1)
        async with serving(silent) as server:
            begun = boot_clock()
            outcome = await post.send(server.url, headers={}, json={}, send_before=begun + 60)
            return outcome, boot_clock() - begun

    outcome, took = event_loop.run(pay)
    assert isinstance(outcome, Lost)
    assert 0.4 <= took < 3
