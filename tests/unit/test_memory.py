"""A worker gives back what a burst of work took."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import anyio
import psutil
import pytest

from worker import event_loop, memory
from worker.runtime import Runtime
from worker.upkeep import memory_back

_BLOCKS = 400
_BLOCK_BYTES = 100_000  # below glibc's threshold for a mapping of its own


def _grow_and_give_back(said: Connection) -> None:
    memory.stay_small()
    own = psutil.Process()
    blocks = [bytearray(_BLOCK_BYTES) for _ in range(_BLOCKS)]
    last = blocks[-1]  # keeps the heap's end in use
    most = own.memory_info().rss
    del blocks
    memory.give_back()
    said.send((most, own.memory_info().rss, len(last)))


def test_free_memory_in_the_middle_of_the_heap_is_returned() -> None:
    spawned = multiprocessing.get_context("spawn")
    ours, theirs = spawned.Pipe()
    process = spawned.Process(target=_grow_and_give_back, args=(theirs,))
    process.start()
    assert ours.poll(30)
    most, then, _ = ours.recv()
    process.join()
    assert most - then > 0.8 * _BLOCKS * _BLOCK_BYTES


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_LIBC", tmp_path)  # it has neither function
    memory.stay_small()
    memory.give_back()


class _Working:
    """As much of a runtime as counts parcels."""

    def __init__(self) -> None:
        self.parcels = 0
        self.returned: list[int] = []

    async def in_thread(self, work: Callable[[], None]) -> None:
        assert work is memory.give_back
        self.returned.append(self.parcels)


def test_a_worker_returns_memory_once_after_each_burst_and_never_within_one(monkeypatch: pytest.MonkeyPatch) -> None:
    working, looks = _Working(), iter([0, 5, 9, 9, 9, 9, 12, 12, 12])

    async def next_look(_seconds: float) -> None:
        try:
            working.parcels = next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(anyio, "sleep", next_look)
    with pytest.raises(KeyboardInterrupt):
        event_loop.run(memory_back.return_memory, cast("Runtime", working))
    assert working.returned == [9, 12]
