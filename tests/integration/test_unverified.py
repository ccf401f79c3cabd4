"""Pictures that cannot be verified: kept in the bucket, named, and counted as stored only at a person's word."""

import base64
import gzip
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ops.downloading import download_batch
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from shared.lifecycle import ImageState
from shared.settings import Settings
from tests.support import rows
from tests.support.command import Ran, genqueue
from tests.support.drain import drain, runtime_for
from tests.support.outcome import ended, ends, only
from tests.support.shelf import Shelf, serving_shelf
from worker.runtime import Runtime

FILE = io.BytesIO()
Image.effect_noise((40, 30), 80).save(FILE, "PNG")
WHOLE = FILE.getvalue()
CUT = WHOLE[: len(WHOLE) // 2]
JXL = b"\xff\x0a" + b"\x7f" * 500
PAGE = b"<html><body>please wait, your secret is drawn</body></html>"
READY = ImageState.READY


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving_shelf() as serving:
        yield serving


def job(engine: Engine, *links: str) -> Any:
    """A job of Bloom whose pictures lie behind these links, ready to be copied."""
    claim = rows.transferring(engine, *[READY] * len(links))
    for index, link in enumerate(links):
        rows.rows(
            engine,
            "UPDATE image SET link = :link WHERE job_id = :job AND index = :index",
            link=link,
            job=claim.job_id,
            index=index,
        )
    return claim.job_id


def collect(client: Client, runtime: Runtime) -> None:
    drain(runtime, ended(client))


def only_end(client: Client) -> tuple[str, str | None]:
    (end,) = ends(client).values()
    return end


def in_bucket(runtime: Runtime, key: str) -> bytes:
    file = io.BytesIO()
    runtime.storage.get_to(key, file)
    return file.getvalue()


def command(settings: Settings, *arguments: str) -> Ran:
    return genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": settings.database_url.get_secret_value()})


@pytest.mark.parametrize(("content", "extension"), [(CUT, "png"), (JXL, "jxl")])
def test_bytes_that_begin_as_an_image_are_kept_when_the_same_come_again(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, content: bytes, extension: str
) -> None:
    link = shelf.put(content)
    job_id = job(engine, link)
    collect(client, runtime)
    assert only_end(client) == ("failed", "result_unverified")
    assert shelf.fetches(link) == 2
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"unverified/{job_id}/0-{sha256}.{extension}"
    story = only(client)
    (image,) = story["images"]
    assert (image["state"], image["error_code"]) == ("failed", "result_unverified")
    assert (image["bucket"], image["key"]) == (runtime.settings.s3_bucket, key)
    assert (image["sha256"].hex(), image["bytes"]) == (sha256, len(content))
    assert key in image["error"]
    assert key in story["job"]["error"]
    assert in_bucket(runtime, key) == content
    assert runtime.storage.head(key).sha256 == sha256  # type: ignore[union-attr] # it is there


@pytest.mark.parametrize("content", [gzip.compress(WHOLE), b"\r\n" + WHOLE, b"\xef\xbb\xbf" + WHOLE])
def test_a_picture_in_a_wrapping_that_no_header_names_is_stored_without_it(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, content: bytes
) -> None:
    job(engine, shelf.put(content))
    collect(client, runtime)
    assert only_end(client) == ("succeeded", None)
    (row,) = client.results("b")
    assert (row["sha256"], in_bucket(runtime, row["key"])) == (hashlib.sha256(WHOLE).hexdigest(), WHOLE)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(WHOLE)[:-9],
        base64.b64encode(WHOLE),
        b"data:image/png;base64," + base64.b64encode(WHOLE),
        b"--x\r\nContent-Type: image/png\r\n\r\n" + WHOLE + b"\r\n--x--\r\n",
    ],
)
def test_bytes_that_may_hold_a_picture_are_kept_at_once_and_fetched_again_as_a_page_is(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, content: bytes
) -> None:
    link = shelf.put(content, content + b"another", content)
    job_id = job(engine, link)
    collect(client, runtime)
    assert only_end(client) == ("failed", "result_unverified")
    assert shelf.fetches(link) == runtime.settings.fetch_page_tries
    (kept,) = client.unverified(batch="b")
    assert kept.key == f"unverified/{job_id}/0-{hashlib.sha256(content).hexdigest()}.bin"
    assert in_bucket(runtime, kept.key) == content
    assert kept.key in only(client)["job"]["error"]
    assert client.accept(client.unverified(batch="b")).succeeded == 1


def test_what_begins_as_a_picture_takes_the_place_of_what_may_hold_one_and_is_never_replaced_by_it(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    data = base64.b64encode(WHOLE)
    job(engine, shelf.put(data, CUT, data))
    collect(client, runtime)
    assert only_end(client) == ("failed", "result_unverified")
    (kept,) = client.unverified(batch="b")
    assert in_bucket(runtime, kept.key) == CUT


def test_bytes_that_differ_each_time_are_fetched_as_often_as_before_and_the_last_are_kept(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    link = shelf.put(*(WHOLE[: 200 + number] for number in range(9)))
    job(engine, link)
    collect(client, runtime)
    assert only_end(client) == ("failed", "result_unverified")
    assert shelf.fetches(link) == runtime.settings.fetch_tries == 3
    assert only(client)["images"][0]["bytes"] == 202


def test_a_picture_that_was_cut_once_is_fetched_again_and_verified(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    job(engine, shelf.put(CUT, WHOLE))
    collect(client, runtime)
    assert only_end(client) == ("succeeded", None)
    (row,) = client.results("b")
    assert row["sha256"] == hashlib.sha256(WHOLE).hexdigest()


def test_a_picture_whose_link_dies_after_its_first_refusal_is_kept_all_the_same(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    job(engine, shelf.put(JXL, None))
    rows.rows(engine, "UPDATE image SET upstream_id = NULL")
    collect(client, runtime)
    assert only_end(client) == ("failed", "result_unverified")
    (kept,) = client.unverified(batch="b")
    assert in_bucket(runtime, kept.key) == JXL


def test_a_page_is_evidence_and_never_kept_as_a_picture(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    job(engine, shelf.put(PAGE))
    collect(client, runtime)
    assert only_end(client) == ("failed", "result_invalid")
    (image,) = only(client)["images"]
    assert image["key"] is None
    assert image["error"] == f"an HTML page of {len(PAGE)} bytes, declared as image/png"
    assert client.unverified(batch="b") == []


def test_a_page_that_asks_to_wait_is_asked_again_although_it_is_the_same_each_time(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    job(engine, shelf.put(PAGE, PAGE, WHOLE))
    collect(client, runtime)
    assert only_end(client) == ("succeeded", None)


def test_an_unverified_picture_is_no_result_until_it_is_accepted(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, settings: Settings, tmp_path: Path
) -> None:
    job(engine, shelf.put(JXL))
    collect(client, runtime)
    (row,) = client.results("b")
    assert (row["state"], row["s3_uri"], row["sha256"], row["key"]) == ("failed", None, None, None)
    assert download_batch(client.results("b"), runtime.storage, tmp_path / "before").missing == 1
    assert not list((tmp_path / "before").iterdir())

    name = only(client)["job"]["custom_id"]
    assert command(settings, "accept", f"b/{name}").code == 0
    assert only_end(client) == ("succeeded", None)
    (row,) = client.results("b")
    assert (row["state"], row["error_code"], row["error"]) == ("stored", None, None)
    assert row["s3_uri"] == f"s3://{row['bucket']}/{row['key']}"
    assert row["key"].startswith("unverified/")
    assert download_batch(client.results("b"), runtime.storage, tmp_path / "after").written == 1
    (path,) = (tmp_path / "after").iterdir()
    assert (path.read_bytes(), path.suffix) == (JXL, ".jxl")
    story = only(client)
    assert [(event["code"], event["note"]) for event in story["events"][-2:]] == [
        ("result_accepted", row["key"]),
        (None, None),
    ]
    assert {event["actor"] for event in story["events"][-2:]} == {"person"}
    assert story["job"]["finished_at"] is not None


def test_explain_names_the_key_and_the_command(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, settings: Settings
) -> None:
    job(engine, shelf.put(CUT))
    collect(client, runtime)
    story = only(client)
    name = f"b/{story['job']['custom_id']}"
    told = command(settings, "explain", name).out
    assert f"s3://{runtime.settings.s3_bucket}/{story['images'][0]['key']}" in told
    assert f"genqueue accept {name}" in told


def test_a_dry_run_of_accept_shows_what_it_would_take_and_changes_nothing(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, settings: Settings
) -> None:
    for content in (CUT, JXL, PAGE):
        job(engine, shelf.put(content))
    collect(client, runtime)
    before = ends(client)
    ran = command(settings, "accept", "--batch", "b", "--dry-run")
    assert " image 1: s3://" in ran.err
    assert " image 0:" not in ran.err
    (told, *_) = client.unverified(batch="b")
    assert "  image 1: " in command(settings, "explain", f"{told.batch}/{told.custom_id}").out
    assert ran.code == 0
    assert "2 images of 2 jobs would be accepted" in ran.err
    assert ran.err.count("s3://") == 2
    assert ends(client) == before
    assert command(settings, "accept", "--batch", "b").code == 0
    assert sorted(ends(client).values(), key=str) == [
        ("failed", "result_invalid"),
        ("succeeded", None),
        ("succeeded", None),
    ]
    assert command(settings, "accept", "--batch", "b").code == 2
    assert command(settings, "accept").code == 2


def test_a_job_that_lacks_another_image_too_stays_failed_and_says_what_it_lacks(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    job(engine, shelf.put(WHOLE), shelf.put(CUT), shelf.put(PAGE))
    collect(client, runtime)
    story = only(client)
    assert story["job"]["error_code"] == "partial_result"
    assert "1 of 3 images stored; result_unverified" in story["job"]["error"]
    assert "unverified/" in story["job"]["error"]
    taken = client.accept(client.unverified(batch="b"))
    assert (taken.images, taken.succeeded, taken.others) == (1, 0, 1)
    story = only(client)
    assert (story["job"]["state"], story["job"]["error_code"]) == ("failed", "partial_result")
    assert story["job"]["error"].startswith("2 of 3 images stored; result_invalid: an HTML page")
    assert [image["state"] for image in story["images"]] == ["stored", "stored", "failed"]


def test_what_a_retry_brought_meanwhile_is_not_accepted_unseen(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    link = shelf.put(CUT)
    job(engine, link)
    collect(client, runtime)
    seen = client.unverified(batch="b")
    shelf.change(link, [CUT + b"other"])
    retry(client, runtime, engine)
    assert client.accept(seen).images == 0
    assert only_end(client) == ("failed", "result_unverified")
    assert client.unverified(batch="b")[0].key != seen[0].key


def retry(client: Client, runtime: Runtime, engine: Engine) -> None:
    """Fetch the same links again, as a retry does where the provider cannot be asked."""
    rows.rows(engine, "UPDATE image SET upstream_id = NULL")
    plan = client.plan_retry(batch="b")
    assert plan.fetch
    assert not plan.buy_again
    client.retry(plan)
    collect(client, runtime)


def test_a_free_retry_fetches_again_and_stores_what_is_whole_then(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    link = shelf.put(CUT)
    job(engine, link)
    collect(client, runtime)
    shelf.change(link, [WHOLE])
    retry(client, runtime, engine)
    assert only_end(client) == ("succeeded", None)
    (row,) = client.results("b")
    assert row["key"].startswith("images/")
    assert row["content_type"] == "image/png"


def test_a_free_retry_that_brings_the_same_bytes_ends_after_one_fetch(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    link = shelf.put(CUT)
    job(engine, link)
    collect(client, runtime)
    fetched = shelf.fetches(link)
    retry(client, runtime, engine)
    assert only_end(client) == ("failed", "result_unverified")
    assert shelf.fetches(link) == fetched + 1


@pytest.mark.parametrize("later", [(), (PAGE,)])
def test_what_is_kept_stays_known_whatever_a_retry_meets(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, later: tuple[bytes, ...]
) -> None:
    link = shelf.put(CUT)
    job(engine, link)
    collect(client, runtime)
    (kept,) = client.unverified(batch="b")
    shelf.change(link, later)
    retry(client, runtime, engine)
    assert only_end(client) == ("failed", "result_unverified")
    assert client.unverified(batch="b")[0].key == kept.key
    assert kept.key in only(client)["job"]["error"]
    assert client.accept(client.unverified(batch="b")).succeeded == 1


def test_what_is_kept_stays_known_when_a_retry_passes_its_last_bound(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    link = shelf.put(CUT)
    job(engine, link)
    collect(client, runtime)
    rows.rows(engine, "UPDATE image SET upstream_id = NULL")
    client.retry(client.plan_retry(batch="b"))
    shelf.change(link, [PAGE])

    def expire() -> bool:
        rows.rows(engine, "UPDATE job SET collect_until = now()")
        return ended(client)()

    drain(runtime, expire)
    assert only_end(client) == ("failed", "result_unverified")
    assert client.accept(client.unverified(batch="b")).succeeded == 1


def test_a_kept_picture_of_a_cancelled_job_can_be_accepted_and_the_job_stays_cancelled(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    job_id = job(engine, shelf.put(CUT))
    client.cancel(job=job_id)
    collect(client, runtime)
    assert only_end(client) == ("cancelled", "result_unverified")
    taken = client.accept(client.unverified(job=job_id))
    assert (taken.images, taken.succeeded, taken.others) == (1, 0, 1)
    (row,) = client.results("b")
    assert (row["state"], row["job_state"]) == ("stored", "cancelled")


def test_a_picture_of_too_many_pixels_is_kept_and_verified_once_the_cap_is_raised(
    client: Client, settings: Settings, endpoints: Endpoints, runtime: Runtime, engine: Engine, shelf: Shelf
) -> None:
    link = shelf.put(WHOLE)
    job(engine, link)
    with runtime_for(settings.model_copy(update={"max_image_pixels": 100}), endpoints) as small:
        collect(client, small)
    assert only_end(client) == ("failed", "result_too_large")
    assert shelf.fetches(link) == 1
    assert len(client.unverified(batch="b")) == 1
    retry(client, runtime, engine)
    assert only_end(client) == ("succeeded", None)
    assert client.unverified(batch="b") == []


def test_a_retry_that_could_only_buy_again_says_that_a_picture_is_kept(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, settings: Settings
) -> None:
    job(engine, shelf.put(CUT))
    collect(client, runtime)
    rows.rows(engine, "UPDATE image SET upstream_id = NULL, link_expires_at = now() - interval '2 days'")
    ran = command(settings, "retry", "--batch", "b")
    assert "1 of these have an image that is kept unverified: genqueue accept takes it, free" in ran.err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WHOLE + b"<script>", ("image/png", "inline")),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', ("image/svg+xml", "attachment")),
        (CUT, ("image/png", "attachment")),
    ],
)
def test_an_object_has_the_type_of_its_bytes_and_only_verified_rasters_are_shown_in_place(
    client: Client, runtime: Runtime, engine: Engine, shelf: Shelf, content: bytes, expected: tuple[str, str]
) -> None:
    job(engine, shelf.put(content, content_type="text/html"))
    collect(client, runtime)
    (image,) = only(client)["images"]
    found = runtime.storage._client.head_object(Bucket=image["bucket"], Key=image["key"])
    assert (found["ContentType"], found["ContentDisposition"]) == expected
    assert image["content_type"] == expected[0]
