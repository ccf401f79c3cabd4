"""Transfer: links that die, lie, drip or lead astray, and a bucket that is away for a while."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, cast

import psutil
import pytest
from structlog.testing import capture_logs

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from shared.lifecycle import ImageState, Stage
from shared.settings import Settings
from tests.support import rows
from tests.support.drain import drain, run_stage, runtime_for
from tests.support.gate import Gate
from tests.support.outcome import BLOOM, GETIMG, ended, ends, only, paid, paid_posts
from worker.claiming import Parcel
from worker.evidence.committer import NotCommittedError
from worker.runtime import Runtime
from worker.stages.transfer import end_all

Changed = Callable[..., Runtime]


@pytest.fixture
def changed(settings: Settings, endpoints: Endpoints) -> Iterator[Changed]:
    """Make a runtime with other settings."""
    opened: list[Any] = []

    def make(**changes: Any) -> Runtime:
        opened.append(runtime_for(settings.model_copy(update=changes), endpoints))
        return opened[-1].__enter__()

    yield make
    for context in opened:
        context.__exit__(None, None, None)


def with_storage(runtime: Runtime, storage: Any) -> Runtime:
    given = {field.name: getattr(runtime, field.name) for field in fields(runtime) if field.init}
    return Runtime(**{**given, "storage": storage})


class StoppingRuntime(Runtime):
    """A worker that stops while PostgreSQL is away, just as a job ends."""

    async def write_joined(self, work: Any, *rest: Any, **more: Any) -> Any:
        if work is end_all:
            raise NotCommittedError("a stop was asked for")
        return await super().write_joined(work, *rest, **more)


def download(fault: Any, *, times: int | None = 1, provider: str = "bloom", prompt: str = "") -> dict[str, Any]:
    match = {"route": "download", "provider": provider, "prompt_contains": prompt}
    return {"match": match, "fault": fault, "times": times}


def polls(simulated: Simulator) -> int:
    return len(simulated.requests(route="poll"))


def test_a_link_that_expired_is_asked_for_again_and_the_picture_stored(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([download("early_expiry")])
    client.enqueue([BLOOM], batch="b")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 1}
    assert paid(simulated) == 1
    last = simulated.requests()[-4:]
    assert [entry["route"] for entry in last] == ["download", "poll", "redirect", "download"]


def test_asking_for_a_link_again_takes_a_slot_of_the_rate_window(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults([download("early_expiry", times=2)])
    client.enqueue([BLOOM], batch="b")
    drain(runtime, ended(client))
    slots = rows.rows(engine, "SELECT kind FROM request_slot WHERE account = 'bloom'")
    assert len(slots) == len(simulated.requests(provider="bloom", route="poll")) + 1


def test_a_link_that_is_dead_on_arrival_and_cannot_be_renewed_ends_as_expired(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "early_expiry"}])
    client.enqueue([GETIMG], batch="b")
    # Whether it lives is not believed at once: clocks differ.
    drain(runtime, lambda: only(client)["job"]["error_code"] == "result_expired")
    assert only(client)["job"]["state"] == "transferring"
    rows.rows(engine, "UPDATE image SET link_expires_at = now() - interval '2 minutes'")
    drain(runtime, ended(client))
    story = only(client)
    assert (story["job"]["state"], story["job"]["error_code"]) == ("failed", "result_expired")
    assert story["submissions"][0]["outcome"] == "accepted"
    assert paid(simulated) == 1


def test_a_link_refused_before_its_own_time_is_asked_again(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([download("early_expiry", provider="getimg")])
    client.enqueue([GETIMG], batch="b")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 1}
    assert paid(simulated) == 1


def test_a_link_past_its_time_by_our_clock_alone_is_asked_all_the_same(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    client.enqueue([BLOOM, GETIMG], batch="b")
    late = "UPDATE image SET link_expires_at = now() - interval '1 hour' WHERE link IS NOT NULL"

    def age(parcel: Parcel) -> None:
        if parcel.stage is Stage.TRANSFER:
            rows.rows(engine, late)

    drain(runtime, ended(client), seen=age)
    assert client.totals("b") == {"succeeded": 2}


BAD_RESULTS = {
    "wrong": ({"kind": "wrong_content", "content_type": "application/json"}, "result_invalid"),
    "html": ("html_body", "result_invalid"),
}
ASTRAY = {"metadata": "http://169.254.169.254/latest/meta-data", "private": "http://10.0.0.1/image.png"}


def test_a_result_that_is_no_image_fails_by_its_name_and_stores_nothing(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([download(fault, times=None, prompt=name) for name, (fault, _) in BAD_RESULTS.items()])
    client.enqueue([{**BLOOM, "prompt": name, "custom_id": name} for name in BAD_RESULTS], batch="b")
    drain(runtime, ended(client))
    assert ends(client) == {name: ("failed", code) for name, (_, code) in BAD_RESULTS.items()}
    assert all(row["s3_uri"] is None for row in client.results("b"))
    assert paid(simulated) == len(BAD_RESULTS)
    assert simulated.counters()["credentials_on_result_urls"] == 0


def test_a_redirect_to_where_no_link_may_lead_is_not_followed_and_ends_nothing(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    faults = {name: {"kind": "redirect_to", "url": url} for name, url in ASTRAY.items()}
    simulated.put_faults([download(fault, times=None, prompt=name) for name, fault in faults.items()])
    client.enqueue([{**BLOOM, "prompt": name, "custom_id": name} for name in ASTRAY], batch="b")
    drain(runtime, lambda: ends(client) == dict.fromkeys(ASTRAY, ("transferring", "result_misdirected")))
    assert all(row["s3_uri"] is None for row in client.results("b"))
    simulated.put_faults([])
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": len(ASTRAY)}
    assert paid(simulated) == len(ASTRAY)


def test_a_result_cut_short_once_is_fetched_again(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    simulated.put_faults([download("truncate"), download("truncate", provider="getimg")])
    client.enqueue([BLOOM, GETIMG], batch="b")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 2}


def test_an_enormous_result_is_refused_in_flat_memory(client: Client, changed: Changed, simulated: Simulator) -> None:
    runtime = changed(max_image_bytes=20 * 2**20)
    said = {"kind": "oversize", "bytes": 300_000_000}
    simulated.put_faults(
        [
            download(said, times=None, prompt="said"),
            download({**said, "content_length": False}, times=None, prompt="hidden"),
        ]
    )
    process = psutil.Process()
    before, most = process.memory_info().rss, [0]

    def done() -> bool:
        most[0] = max(most[0], process.memory_info().rss)
        return ended(client)()

    client.enqueue([{**BLOOM, "prompt": prompt} for prompt in ("said", "hidden", "hidden too")], batch="b")
    drain(runtime, done)
    assert set(ends(client).values()) == {("failed", "result_too_large")}
    assert most[0] - before < 100 * 2**20


def test_a_result_that_drips_is_given_up_at_its_wall_clock_and_tried_again(
    client: Client, changed: Changed, simulated: Simulator
) -> None:
    runtime = changed(fetch_timeout_seconds=0.3)
    simulated.put_faults([download("drip", times=None)])
    client.enqueue([BLOOM], batch="b")
    drain(runtime, lambda: ends(client).popitem()[1] == ("transferring", "result_timeout"), seconds=15)
    simulated.put_faults([])
    drain(runtime, ended(client), seconds=15)
    assert client.totals("b") == {"succeeded": 1}


def test_one_bad_picture_of_several_ends_as_partial_and_keeps_the_others(
    client: Client, changed: Changed, simulated: Simulator
) -> None:
    simulated.put_faults([download("wrong_content")])
    client.enqueue([{**BLOOM, "n": 3}], batch="b")
    drain(changed(fetch_tries=1, fetch_page_tries=1), ended(client))
    story = only(client)
    assert story["job"]["error_code"] == "partial_result"
    assert story["job"]["error"].startswith("2 of 3 images stored; result_invalid")
    assert sorted(row["state"] for row in client.results("b")) == ["failed", "stored", "stored"]


def test_a_picture_whose_link_dies_is_held_in_hand_while_the_bucket_is_away(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    gate = Gate(runtime.storage)
    behind = with_storage(runtime, gate)
    client.enqueue([GETIMG], batch="b")

    def open_later() -> bool:
        gate.shut = gate.refusals < 2
        return ended(client)()

    drain(behind, open_later)
    assert client.totals("b") == {"succeeded": 1}
    assert len(simulated.requests(route="download")) == 1


def test_nothing_with_dying_links_is_bought_while_the_bucket_is_away(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    gate = Gate(runtime.storage)
    behind = with_storage(runtime, gate)
    client.enqueue([GETIMG], batch="first")
    client.enqueue([BLOOM], batch="bloom")
    later: list[int] = []

    def open_later() -> bool:
        if gate.refusals >= 1 and not later:
            client.enqueue([GETIMG] * 3, batch="later")
            later.append(gate.refusals)
        if later and gate.refusals >= later[0] + 2 and gate.shut:
            later.append(len(simulated.requests(route="submit", provider="getimg")))
            gate.shut = False
        return not gate.shut and all(ended(client, batch)() for batch in ("first", "bloom", "later"))

    drain(behind, open_later)
    assert later[1] == 1
    assert [client.totals(batch) for batch in ("first", "bloom", "later")] == [
        {"succeeded": 1},
        {"succeeded": 1},
        {"succeeded": 3},
    ]
    assert paid(simulated) == paid_posts(simulated) == 5


def test_a_message_to_pay_that_arrives_while_the_bucket_is_away_goes_back_unspent(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    client.enqueue([GETIMG], batch="b")
    (claim,) = rows.claim(engine, account="getimg")
    runtime.bucket_refused()
    run_stage(runtime, Parcel(Stage.SUBMIT, "getimg", (claim,)))
    assert rows.job(engine, claim.job_id).claimed_by is None
    assert paid_posts(simulated) == 0


def test_a_picture_that_can_be_asked_for_waits_longer_and_longer_for_the_bucket_and_spends_no_try(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    gate = Gate(runtime.storage)
    client.enqueue([BLOOM], batch="b")
    drain(with_storage(runtime, gate), lambda: gate.refusals >= runtime.settings.fetch_tries + 2)
    (job,) = rows.rows(engine, "SELECT state, error_code, tries FROM job")
    assert (job.state, job.error_code) == ("transferring", "storage_unavailable")
    assert job.tries >= runtime.settings.fetch_tries + 1
    assert rows.rows(engine, "SELECT tries FROM image") == [(0,)]
    gate.shut = False
    drain(with_storage(runtime, gate), ended(client))
    assert client.totals("b") == {"succeeded": 1}


def test_a_transfer_past_the_last_bound_ends_and_says_what_kept_it(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    gate = Gate(runtime.storage)
    client.enqueue([{**BLOOM, "n": 2}], batch="b")

    def expire() -> bool:
        if gate.refusals:
            rows.rows(engine, "UPDATE job SET collect_until = now()")
        return ended(client)()

    drain(with_storage(runtime, gate), expire)
    story = only(client)
    assert (story["job"]["state"], story["job"]["error_code"]) == ("failed", "never_finished")
    assert "storage_unavailable" in story["job"]["error"]
    assert {image["state"] for image in story["images"]} == {"failed"}
    assert all(image["link"] for image in story["images"])


def test_a_message_whose_claim_has_passed_on_fetches_nothing(
    runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    rows.transferring(engine, link=f"{simulated.url}/bloom/img/none")
    (stale,) = rows.claim(engine, "transfer", lease=0)
    rows.claim(engine, "transfer")
    before = rows.job(engine, stale.job_id)
    run_stage(runtime, Parcel(Stage.TRANSFER, "bloom", (stale,)))
    assert simulated.requests() == []
    assert rows.job(engine, stale.job_id) == before


def test_a_worker_without_the_key_gives_the_job_back_and_says_why(runtime: Runtime, engine: Engine) -> None:
    rows.transferring(engine, ImageState.READY)
    (claim,) = rows.claim(engine, "transfer")
    del runtime.accounts["bloom"]
    run_stage(runtime, Parcel(Stage.TRANSFER, "bloom", (claim,)))
    job = rows.job(engine, claim.job_id)
    assert (job.state, job.error_code, job.claimed_by) == ("transferring", "account_unauthorized", None)


def test_a_defect_in_one_wire_keeps_no_neighbour_from_its_end(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    class Broken(type(runtime.accounts["bloom"].wire)):  # type: ignore[misc]
        asked: list[int] = []  # noqa: RUF012 - one for the test
        ready: set[str] = set()  # noqa: RUF012 - the same

        async def poll(self, upstream_ids: Any) -> Any:
            if simulated.requests(outcome="early_expiry") and set(upstream_ids) <= self.ready:
                self.asked.append(1)
                raise RuntimeError("a defect")
            found = await super().poll(upstream_ids)
            self.ready.update(upstream_id for upstream_id, image in found.items() if image.link)
            return found

    account = runtime.accounts["bloom"]
    runtime.accounts["bloom"] = replace(account, wire=Broken(cast("Any", account.wire)._settings))
    simulated.put_faults([download("early_expiry", prompt="dies", times=None)])
    client.enqueue([{**BLOOM, "prompt": prompt} for prompt in ("dies", "lives", "lives too")], batch="b")
    drain(runtime, lambda: bool(Broken.asked) and client.totals("b").get("succeeded", 0) == 2)
    assert client.totals("b") == {"succeeded": 2, "transferring": 1}


def test_an_end_that_waits_for_postgresql_at_a_stop_is_no_defect_and_is_written_later(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    client.enqueue([BLOOM], batch="b")
    stopping = StoppingRuntime(**{one.name: getattr(runtime, one.name) for one in fields(runtime) if one.init})
    with capture_logs() as logged:
        drain(stopping, lambda: any(entry["event"].startswith("end_") for entry in logged))
    assert {entry["event"] for entry in logged if entry["event"].startswith("end_")} == {"end_waits"}
    assert client.totals("b") == {"transferring": 1}
    rows.rows(engine, "UPDATE job SET due_at = now()")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 1}
