"""Poll: asks for many at once, counts no failure, and ends what never finishes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from ops.simulator import BloomSettings, Simulator, SimulatorConfig
from producer import Client
from shared.db.engine import Engine
from shared.lifecycle import ImageState, Stage
from tests.support import rows
from tests.support.drain import drain, run_stage
from tests.support.image_host import Answer, serving_images
from tests.support.outcome import BLOOM, ended, ends, only, paid
from tests.support.waiting import until
from worker.claiming import Parcel
from worker.providers.contract import UpstreamImage
from worker.runtime import Runtime


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    """A provider that draws for as long as a test needs to look at it: ten minutes of its own time are one second."""
    config = SimulatorConfig(time_scale=600, pixels=64, bloom=BloomSettings(latency=(90.0, 120.0)))
    with Simulator(config).serve() as running:
        yield running


def polled(runtime: Runtime, engine: Engine, answers: dict[str, UpstreamImage]) -> list[Sequence[str]]:
    """Run one poll of everything due against a provider that answers `answers`; return what was asked."""
    asked: list[Sequence[str]] = []
    account = runtime.accounts["bloom"]

    class Told(type(account.wire)):  # type: ignore[misc]
        async def poll(self, upstream_ids: Sequence[str]) -> Any:
            asked.append(upstream_ids)
            return {one: answers[one] for one in upstream_ids if one in answers}

    runtime.accounts["bloom"] = replace(account, wire=Told(cast("Any", account.wire)._settings))
    claims = rows.claim(engine, "poll", count=100)
    run_stage(runtime, Parcel(Stage.POLL, "bloom", tuple(claims)))
    return asked


def broken(wire: Any) -> Any:
    class Broken(type(wire)):  # type: ignore[misc]
        async def poll(self, upstream_ids: Sequence[str]) -> Any:
            raise RuntimeError(f"a defect with {len(upstream_ids)}")

    return Broken(wire._settings)


def pending(engine: Engine, *states: ImageState) -> list[str]:
    """Bring one new job of pictures in `states` to where the poller finds it due; return their upstream ids."""
    claim = rows.transferring(engine, *(states or (ImageState.PENDING,)))
    rows.rows(engine, "UPDATE job SET state = 'pending' WHERE id = :id", id=claim.job_id)
    found = rows.rows(engine, "SELECT upstream_id FROM image WHERE job_id = :id ORDER BY index", id=claim.job_id)
    return [row.upstream_id for row in found]


def test_as_many_pictures_as_the_provider_allows_are_asked_for_in_one_request(runtime: Runtime, engine: Engine) -> None:
    upstream = [pending(engine)[0] for _ in range(53)]
    asked = polled(runtime, engine, {one: UpstreamImage(ImageState.PENDING, one) for one in upstream})
    assert sorted(len(page) for page in asked) == [3, 50]


def test_still_pending_is_no_failure_and_only_moves_the_due_time(runtime: Runtime, engine: Engine) -> None:
    (upstream,) = pending(engine)
    (before,) = rows.rows(engine, "SELECT now() AS time")
    polled(runtime, engine, {upstream: UpstreamImage(ImageState.PENDING, upstream)})
    (job,) = rows.rows(
        engine, "SELECT state, error_code, tries, claimed_by, due_at > :before AS later FROM job", before=before.time
    )
    assert job == ("pending", None, 1, None, True)


def test_a_job_whose_pictures_are_drawn_one_by_one_waits_for_the_last(runtime: Runtime, engine: Engine) -> None:
    one, two = pending(engine, ImageState.PENDING, ImageState.PENDING)
    ready = UpstreamImage(ImageState.READY, one, link="https://example.com/1")
    polled(runtime, engine, {one: ready, two: UpstreamImage(ImageState.PROCESSING, two)})
    assert rows.states(engine) == {"processing": 1}
    rows.rows(engine, "UPDATE job SET due_at = now()")
    asked = polled(runtime, engine, {two: UpstreamImage(ImageState.READY, two, link="https://example.com/2")})
    assert asked == [[two]]
    assert rows.states(engine) == {"transferring": 1}
    links = rows.rows(engine, "SELECT link FROM image ORDER BY index")
    assert [row.link for row in links] == ["https://example.com/1", "https://example.com/2"]


def test_pictures_that_stay_upstream_are_an_end_like_a_stored_one(runtime: Runtime, engine: Engine) -> None:
    one, two = pending(engine, ImageState.PENDING, ImageState.PENDING)
    polled(runtime, engine, {name: UpstreamImage(ImageState.UPSTREAM_ONLY, name) for name in (one, two)})
    run_stage(runtime, Parcel(Stage.TRANSFER, "bloom", tuple(rows.claim(engine, "transfer"))))
    assert rows.states(engine) == {"succeeded": 1}


def test_a_picture_missing_from_a_page_is_asked_for_by_itself(runtime: Runtime, engine: Engine) -> None:
    (one,), (two,) = pending(engine), pending(engine)
    asked = polled(runtime, engine, {one: UpstreamImage(ImageState.PENDING, one)})
    assert sorted(map(sorted, asked)) == sorted([sorted([one, two]), [two]])
    (job,) = rows.rows(
        engine, "SELECT job.state, job.tries FROM job JOIN image ON job_id = id WHERE upstream_id = :two", two=two
    )
    assert job == ("pending", 0)


@pytest.mark.parametrize("fault", ["429", "refuse_503", "reset_after_read", "html_body", "truncate", "402"])
def test_a_poll_that_fails_ends_nothing_and_is_asked_again(
    client: Client, runtime: Runtime, simulated: Simulator, fault: str
) -> None:
    spec = {"kind": "429", "retry_after": 0} if fault == "429" else fault
    simulated.put_faults([{"match": {"route": "poll"}, "fault": spec, "times": 3}])
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 1


def test_a_failed_generation_ends_the_job_and_stays_on_the_bill(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    failed = {"kind": "failed_generation", "reason": "content_safety"}
    simulated.put_faults([{"match": {"prompt_contains": "unsafe"}, "fault": failed}])
    client.enqueue([{**BLOOM, "prompt": "unsafe", "n": 2, "custom_id": "a"}], batch="b")
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("failed", "content_refused_after_purchase")}
    assert [image["state"] for image in only(client)["images"]] == ["failed", "failed"]
    (bill,) = client.bill()
    assert (bill["settled"], bill["held"]) == (2, 0)


def test_a_job_past_its_last_bound_ends_as_never_finished(runtime: Runtime, engine: Engine) -> None:
    (upstream,) = pending(engine)
    rows.rows(engine, "UPDATE job SET collect_until = now()")
    polled(runtime, engine, {upstream: UpstreamImage(ImageState.PROCESSING, upstream)})
    assert rows.rows(engine, "SELECT state, error_code FROM job") == [("failed", "never_finished")]
    assert rows.rows(engine, "SELECT state, error_code FROM image") == [("failed", "never_finished")]


@pytest.mark.parametrize(
    ("look", "code", "words"),
    [
        (UpstreamImage(ImageState.PROCESSING), "never_finished", "did not finish it before the collection deadline"),
        (
            UpstreamImage(ImageState.PROCESSING, lacks_link=True),
            "result_not_downloadable",
            "finished, but gave no link",
        ),
        (UpstreamImage(ImageState.PROCESSING, unknown_word="resting"), "never_finished", "unknown here: resting"),
        (None, "never_finished", "could not be asked for it then; provider_error: a defect in the wire (RuntimeError)"),
    ],
)
def test_the_end_at_the_last_bound_says_what_the_last_look_found(
    runtime: Runtime, engine: Engine, look: UpstreamImage | None, code: str, words: str
) -> None:
    (upstream,) = pending(engine)
    rows.rows(engine, "UPDATE job SET collect_until = now()")
    if look is None:
        account = runtime.accounts["bloom"]
        runtime.accounts["bloom"] = replace(account, wire=broken(account.wire))
        run_stage(runtime, Parcel(Stage.POLL, "bloom", tuple(rows.claim(engine, "poll"))))
    else:
        polled(runtime, engine, {upstream: look})
    (job,) = rows.rows(engine, "SELECT state, error_code, error FROM job")
    assert (job.state, job.error_code) == ("failed", code)
    assert words in job.error


def test_the_last_bound_ends_only_the_pictures_that_never_came(runtime: Runtime, engine: Engine) -> None:
    one, two = pending(engine, ImageState.PENDING, ImageState.PENDING)
    rows.rows(engine, "UPDATE job SET collect_until = now()")
    with serving_images(Answer()) as host:
        ready = UpstreamImage(ImageState.READY, one, link=f"{host.url}/1")
        polled(runtime, engine, {one: ready, two: UpstreamImage(ImageState.PROCESSING, two)})
    found = rows.rows(engine, "SELECT state, error_code FROM image ORDER BY index")
    assert found == [("stored", None), ("failed", "never_finished")]


def test_a_look_that_finds_links_copies_as_many_jobs_as_there_is_room_for_and_leaves_the_others_to_any_worker(
    runtime: Runtime, engine: Engine
) -> None:
    room = 2 * runtime.settings.worker_slots
    names = [pending(engine)[0] for _ in range(room + 3)]
    with serving_images(Answer()) as host:
        found = {one: UpstreamImage(ImageState.READY, one, link=f"{host.url}/{one}") for one in names}
        polled(runtime, engine, found)
    assert rows.states(engine) == {"succeeded": room, "transferring": 3}
    left = rows.rows(engine, "SELECT DISTINCT claimed_by, due_at <= now() AS due FROM job WHERE state = 'transferring'")
    assert left == [(None, True)]


def test_a_job_that_cannot_be_asked_about_still_ends_at_its_last_bound(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults([{"match": {"route": "poll"}, "fault": "refuse_503", "times": None}])
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")

    def expire() -> bool:
        if simulated.requests(route="poll"):
            rows.rows(engine, "UPDATE job SET collect_until = now()")
        return ended(client)()

    drain(runtime, expire)
    assert ends(client) == {"a": ("failed", "never_finished")}


def test_a_defect_in_the_wire_is_no_reason_to_stay_for_ever(runtime: Runtime, engine: Engine) -> None:
    pending(engine)
    account = runtime.accounts["bloom"]
    runtime.accounts["bloom"] = replace(account, wire=broken(account.wire))
    (claim,) = rows.claim(engine, "poll")
    run_stage(runtime, Parcel(Stage.POLL, "bloom", (claim,)))
    assert rows.rows(engine, "SELECT state, claimed_by FROM job") == [("pending", None)]
    rows.rows(engine, "UPDATE job SET due_at = now(), collect_until = now()")
    (claim,) = rows.claim(engine, "poll")
    run_stage(runtime, Parcel(Stage.POLL, "bloom", (claim,)))
    assert rows.rows(engine, "SELECT state, error_code FROM job") == [("failed", "never_finished")]


def test_polls_stay_within_the_rate_window(client: Client, runtime: Runtime, engine: Engine) -> None:
    client.enqueue([BLOOM] * 2, batch="b")
    drain(runtime, lambda: client.totals("b").get("queued", 0) == 0)
    rows.rows(engine, "INSERT INTO request_slot (account, kind) SELECT 'bloom', 'poll' FROM generate_series(1, 100000)")
    (before,) = rows.rows(engine, "SELECT count(*) AS polls FROM request_slot")
    claims = rows.claim(engine, "poll", count=2) or rows.claim(engine, "poll", count=2)
    until(lambda: claims or claims.__iadd__(rows.claim(engine, "poll", count=2)))
    run_stage(runtime, Parcel(Stage.POLL, "bloom", tuple(claims)))
    (after,) = rows.rows(engine, "SELECT count(*) AS polls FROM request_slot")
    assert before == after
