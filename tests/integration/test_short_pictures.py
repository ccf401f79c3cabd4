"""Pictures of which a link always gives the same part: the part is in the bucket when the link is over."""

import io
from functools import partial
from typing import Any

import pytest

from producer import Client
from shared.db.engine import Engine
from shared.lifecycle import ImageState
from tests.support import rows
from tests.support.drain import drain, on_loop
from tests.support.image_host import Answer, ImageHost, picture, serving_images
from tests.support.outcome import ended, ends
from worker.runtime import Runtime
from worker.transport.quick_put import QuickPut
from worker.transport.storage import Storage
from worker.transport.storage_errors import ObjectMissing
from worker.upkeep.leaving import delete_doomed

PART = picture()[:-20]
SHORT = Answer(body=PART, announced=len(picture()))


def job(engine: Engine, host: ImageHost) -> None:
    claim = rows.transferring(engine, ImageState.READY)
    rows.rows(engine, "UPDATE image SET link = :link WHERE job_id = :id", link=f"{host.url}/1", id=claim.job_id)


def in_bucket(runtime: Runtime, key: str) -> bytes:
    file = io.BytesIO()
    runtime.storage.get_to(key, file)
    return file.getvalue()


def kept(engine: Engine) -> list[str]:
    return [row.key for row in rows.rows(engine, "SELECT key FROM image WHERE key IS NOT NULL")]


def test_what_came_short_twice_in_the_same_way_is_kept_and_can_be_accepted(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    with serving_images(SHORT) as host:
        job(engine, host)
        drain(runtime, lambda: bool(kept(engine)))
        assert len(host.asked) >= 2
        assert {state for state, _ in ends(client).values()} == {"transferring"}  # the whole may still come
        rows.rows(engine, "UPDATE job SET collect_until = now()")
        drain(runtime, ended(client))
    assert set(ends(client).values()) == {("failed", "result_unverified")}
    (one,) = client.unverified(batch="b")
    assert in_bucket(runtime, one.key) == PART
    assert client.accept([one]).succeeded == 1


def test_a_whole_picture_takes_the_place_of_what_came_short(client: Client, runtime: Runtime, engine: Engine) -> None:
    with serving_images(SHORT) as host:
        job(engine, host)
        drain(runtime, lambda: bool(kept(engine)))
        (part,) = kept(engine)
        host.answer = Answer()
        drain(runtime, ended(client))
    assert set(ends(client).values()) == {("succeeded", None)}
    on_loop(runtime, partial(delete_doomed, runtime))
    with pytest.raises(ObjectMissing):
        in_bucket(runtime, part)
    (row,) = client.results("b")
    assert in_bucket(runtime, row["key"]) == picture()


def test_damaged_bytes_are_named_by_their_job_before_they_are_in_the_bucket(
    client: Client, runtime: Runtime, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies between the bucket and the row leaves nothing that no job names, and an erasure finds it."""
    named: dict[str, list[str]] = {}
    put = QuickPut.put

    async def told(quick: QuickPut, storage: Storage, key: str, *given: Any, **options: Any) -> Any:
        named[key] = announced(engine)
        return await put(quick, storage, key, *given, **options)

    monkeypatch.setattr(QuickPut, "put", told)
    with serving_images(Answer(body=PART)) as host:
        job(engine, host)
        drain(runtime, lambda: bool(kept(engine)))
        host.answer = Answer()
        drain(runtime, ended(client))
    unverified, whole = named
    assert unverified.startswith("unverified/")
    assert named[unverified] == named[whole] == announced(engine) == [unverified]
    client.carry_out_erase(client.plan_erase(batch="b"))
    assert unverified in {row.key for row in rows.rows(engine, "SELECT key FROM doomed_object")}


def announced(engine: Engine) -> list[str]:
    return [row.note for row in rows.rows(engine, "SELECT note FROM job_event WHERE code = 'result_unverified'")]
