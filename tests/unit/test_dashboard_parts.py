"""The dashboard's parts alone: words, charts, sessions, shared answers, and a decoder that may die."""

import hashlib
import io
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from PIL import Image

from ops.dashboard import words
from ops.dashboard.charts import Column, Segment, bar, columns
from ops.dashboard.reading import Shared
from ops.dashboard.sessions import EVERYTHING, SESSION_SECONDS, Person, Sessions
from ops.dashboard.thumbnails import Thumbnails
from shared.lifecycle import ImageState, JobState
from worker.thumbnails.decoder import Decoder
from worker.thumbnails.process import EDGE
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageError


def picture(kind: str = "PNG", size: tuple[int, int] = (900, 600)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "#336699").save(file, kind)
    return file.getvalue()


class Bucket:
    """A bucket in memory that counts what is read."""

    def __init__(self, *objects: bytes) -> None:
        self.objects = {hashlib.sha256(each).hexdigest(): each for each in objects}
        self.reads = 0

    def get_to(self, key: str, file: BinaryIO) -> str:
        self.reads += 1
        found = self.objects[key]
        file.write(found)
        return hashlib.sha256(found).hexdigest()


def thumbnails(directory: Path, bucket: Bucket, **options: Any) -> Thumbnails:
    return Thumbnails(directory, cast("Storage", bucket), **options)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (61, "1 min 01 s"), (7260, "2 h 01 min"), (90_000, "1 d 1 h"),
     (-3, "0.0 s"), (None, "")],
)  # fmt: skip
def test_a_duration_reads_well(seconds: float | None, expected: str) -> None:
    assert words.duration(seconds) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("0.035", "0.035"), ("2", "2"), ("2.5", "2.50"), ("1E+4", "10,000"), ("0.00", "0"), ("1234.5", "1,234.50")],
)
def test_an_amount_keeps_every_digit(amount: str, expected: str) -> None:
    assert words.money(Decimal(amount)) == expected


def test_what_stands_between_backticks_is_code_and_everything_is_escaped() -> None:
    assert "<code>unverified/</code>" in words.meaning("result_unverified")
    assert words.coded("<b> `<i>\u202e` and `") == "&lt;b&gt; <code>&lt;i&gt;\\u202e</code> and `"
    assert words.meaning("nobody knows it") == ""


def test_every_state_has_a_sign_and_a_word() -> None:
    assert {state.value for state in JobState} | {"on_hold", "checking"} == set(words.STATES)
    assert {state.value for state in ImageState} == set(words.IMAGE_STATES)
    assert all(shown.sign and shown.word for shown in words.STATES.values())


def test_a_chart_escapes_what_it_labels_and_is_nothing_without_amounts() -> None:
    drawn = bar([Segment(0.5, "good", "<i>")]) + columns([Column("<b>", {"settled": 2})], "by day")
    assert "<i>" not in drawn
    assert "<b>" not in drawn
    assert columns([Column("x", {"settled": 0})], "by day") == ""


def test_a_session_ends_after_half_a_day() -> None:
    now = [0.0]
    person = Person("p", EVERYTHING)
    sessions = Sessions(lambda _token: person, clock=lambda: now[0])
    word = sessions.sign_in("x")
    now[0] = SESSION_SECONDS - 1
    assert sessions.person(word) is person
    now[0] = SESSION_SECONDS
    assert sessions.person(word) is None


def test_many_viewers_share_one_answer_and_a_fault_is_not_kept() -> None:
    begun, go, count = threading.Event(), threading.Event(), []

    def read() -> int:
        count.append(1)
        begun.set()
        go.wait(10)
        return len(count)

    shared = Shared(fresh_seconds=60)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(shared.get, "key", read)
        begun.wait(10)
        others = [pool.submit(shared.get, "key", read) for _ in range(7)]
        go.set()
        assert {each.result(10) for each in (first, *others)} == {1}
    with pytest.raises(ZeroDivisionError):
        shared.get("other", lambda: 1 // 0)
    assert shared.get("other", lambda: 7) == 7


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_thumbnail_is_small_and_made_once(tmp_path: Path, kind: str) -> None:
    image = picture(kind)
    bucket, sha256 = Bucket(image), hashlib.sha256(image).hexdigest()
    made = thumbnails(tmp_path, bucket)
    try:
        first = made.get(sha256, sha256)
        assert made.get(sha256, sha256) == first
    finally:
        made.decoder.close()
    with Image.open(io.BytesIO(first)) as small:
        assert (small.format, max(small.size)) == ("WEBP", EDGE)
    assert bucket.reads == 1


@pytest.mark.parametrize("image", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"no image", picture()[:200], b""])
def test_what_cannot_be_decoded_has_no_thumbnail_and_is_not_read_again(tmp_path: Path, image: bytes) -> None:
    bucket, sha256 = Bucket(image), hashlib.sha256(image).hexdigest()
    made = thumbnails(tmp_path, bucket)
    try:
        assert [made.get(sha256, sha256) for _ in range(2)] == [b"", b""]
    finally:
        made.decoder.close()
    assert bucket.reads == 1


@pytest.mark.parametrize(
    "code", ["raise SystemExit", "import os; os.kill(os.getpid(), 9)", "import time; time.sleep(60)"]
)
def test_a_decoder_that_dies_or_hangs_costs_one_thumbnail(code: str) -> None:
    broken = Decoder((sys.executable, "-c", code), seconds=0.5)
    assert broken.thumbnail(picture()) == b""
    broken.command = Decoder().command
    broken.seconds = 20
    try:
        assert broken.thumbnail(picture())
    finally:
        broken.close()


def test_an_object_that_is_not_the_rows_is_refused(tmp_path: Path) -> None:
    bucket = Bucket()
    bucket.objects["key"] = picture()
    with pytest.raises(StorageError):
        thumbnails(tmp_path, bucket).get("key", "a" * 64)


def test_the_oldest_thumbnails_leave_when_there_are_too_many(tmp_path: Path) -> None:
    old = tmp_path / "aa" / "old.webp"
    old.parent.mkdir()
    for number in range(12):
        file = old.with_name(f"{number}.webp")
        file.write_bytes(b"x")
        at = (datetime.now(UTC) - timedelta(days=12 - number)).timestamp()
        os.utime(file, (at, at))
    made = thumbnails(tmp_path, Bucket(), most_files=10)
    made._prune()
    assert sorted(int(file.stem) for file in old.parent.glob("*")) == list(range(3, 12))
