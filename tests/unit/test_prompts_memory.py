"""Reading a prompt file needs flat memory, whatever its length and whatever is in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_READER = """
import io, itertools, json, sys, time
from producer.prompts import read

def peak_kib():
    # The peak of this process image alone: getrusage's would count the parent's before the exec.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

class Stream(io.RawIOBase):
    def __init__(self, chunks):
        self.chunks = chunks
    def readable(self):
        return True
    def readinto(self, buffer):
        chunk = next(self.chunks, b"")
        buffer[: len(chunk)] = chunk
        return len(chunk)

def rows(count):
    yield b"prompt,custom_id,aspect_ratio,size,n\\n"
    for i in range(count):
        yield b'"A cinematic portrait of a cat, number %d, warm light",img-%d,16:9,2K,2\\n' % (i, i)

def long_line(start):
    yield b"prompt,n\\n" + start
    yield from itertools.repeat(b"x" * 8000, 3125)
    yield b"\\nbad,0\\n"

def open_quote():
    yield b'prompt,n\\n"never closed'
    yield from itertools.repeat((b"x" * 96 + b",1\\n") * 80, 300)

def size_of(chunks):
    before, begun = peak_kib(), time.process_time()
    with read("-", format="csv", default_provider="bloom", providers={"bloom"},
              stdin=io.BufferedReader(Stream(chunks))) as prepared:
        listed = sum(1 for _ in prepared.rows()) if not prepared.fault_count else 0
        print(json.dumps({
            "kib": peak_kib() - before, "seconds": time.process_time() - begun, "rows": listed,
            "faults": [fault.line for fault in prepared.faults][:5],
        }))

size_of(iter([b"prompt\\na\\n"]))
"""


def _measure(case: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _READER + f"size_of({case})"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        timeout=120,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_fifty_thousand_rows_need_little_memory_and_time() -> None:
    measured = _measure("rows(50_000)")
    assert measured["rows"] == 50_000
    # 4 MiB of spool, about 7 MiB of ids.
    assert measured["kib"] < 20 * 1024
    assert measured["seconds"] < 15


@pytest.mark.parametrize(
    ("case", "faults"),
    [("long_line(b'')", [2, 3]), ("long_line(b'\"')", [2, 3])],
)
def test_a_line_of_25_megabytes_is_one_fault_in_little_memory(case: str, faults: list[int]) -> None:
    measured = _measure(case)
    assert measured["faults"] == faults
    assert measured["kib"] < 8 * 1024


def test_a_quote_never_closed_before_a_megabyte_of_rows_needs_little_memory() -> None:
    measured = _measure("open_quote()")
    assert measured["faults"] == [2]
    assert measured["kib"] < 12 * 1024  # the record up to its limit, as text and as bytes
