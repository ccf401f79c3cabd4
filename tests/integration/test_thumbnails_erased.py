"""A thumbnail goes with its picture: it is not shown once the picture was erased, and its file is deleted."""

import asyncio
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
from PIL import Image

from ops.dashboard.reading import Reads, Shared
from ops.dashboard.sweeping import swept
from ops.dashboard.thumbnails import Thumbnails
from producer import Client
from shared.db.engine import Engine
from tests.support import aged, rows, waiting
from tests.support.browsing import Browser, browsing
from worker.transport.storage import Storage, key_for


def picture(color: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (40, 30), color).save(made, "PNG")
    return made.getvalue()


class Bucket:
    """A bucket whose objects outlive an erasure: no worker has deleted them yet."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get_to(self, key: str, file: Any) -> str:
        file.write(self.objects[key])
        return hashlib.sha256(self.objects[key]).hexdigest()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def browser(engine: Engine, bucket: Bucket, tmp_path: Path) -> Iterator[Browser]:
    with browsing(engine, tmp_path, storage=cast("Storage", bucket)) as opened:
        opened.sign_in()
        yield opened


def stored(engine: Engine, bucket: Bucket, batch: str, color: str = "red") -> str:
    """Add a job with a stored picture, and return the path of its thumbnail."""
    job, content = aged.ended(engine, batch=batch, days=1), picture(color)
    sha256 = hashlib.sha256(content).hexdigest()
    key = key_for(str(job), 0, sha256, "png")
    bucket.objects[key] = content
    change = "UPDATE image SET state = 'stored', bucket = 'b', key = :key, sha256 = :sha256 WHERE job_id = :id"
    rows.rows(engine, change, key=key, sha256=bytes.fromhex(sha256), id=job)
    return f"/thumbnail/{key.removeprefix('images/')}"


def test_a_thumbnail_of_an_erased_picture_is_not_shown_and_one_of_the_same_bytes_is(
    engine: Engine, client: Client, browser: Browser, bucket: Bucket
) -> None:
    paths = [stored(engine, bucket, batch) for batch in ("spring", "summer")]
    assert [browser.get(path).status_code for path in paths] == [200, 200]
    client.carry_out_erase(client.plan_erase(batch="spring", results=True))
    assert [browser.get(path).status_code for path in paths] == [404, 200]


def test_a_thumbnail_stays_where_the_erasure_keeps_the_picture(
    engine: Engine, client: Client, browser: Browser, bucket: Bucket
) -> None:
    path = stored(engine, bucket, "spring")
    client.carry_out_erase(client.plan_erase(batch="spring"))
    assert browser.get(path).status_code == 200


def test_no_thumbnail_is_made_of_an_object_that_no_row_names(browser: Browser, bucket: Bucket) -> None:
    content = picture("blue")
    key = key_for("01900000-0000-7000-8000-000000000000", 0, hashlib.sha256(content).hexdigest(), "png")
    bucket.objects[key] = content
    assert browser.get(f"/thumbnail/{key.removeprefix('images/')}").status_code == 404


def test_files_of_pictures_that_were_erased_or_have_left_are_deleted(
    engine: Engine, client: Client, browser: Browser, bucket: Bucket, tmp_path: Path
) -> None:
    paths = [stored(engine, bucket, batch, color) for batch, color in (("spring", "red"), ("summer", "blue"))]
    for path in paths:
        browser.get(path)
    directory = tmp_path / "thumbnails"
    of_an_older_version = directory / "ab" / f"{'ab' * 32}.webp"
    of_an_older_version.parent.mkdir(exist_ok=True)
    of_an_older_version.write_bytes(b"x")
    client.carry_out_erase(client.plan_erase(batch="spring", results=True))
    thumbnails = Thumbnails(directory, cast("Storage", bucket))

    async def sweep() -> None:
        async with swept(thumbnails, Reads(engine, Shared(0)), every_seconds=0.05):
            await asyncio.to_thread(waiting.until, lambda: len(list(directory.glob("*/*"))) == 1)

    asyncio.run(sweep())
    thumbnails.decoder.close()
    assert [unquote(file.stem) for file in directory.glob("*/*")] == [f"images/{paths[1].removeprefix('/thumbnail/')}"]
