"""Downloads that fail: tried while the link lives, never beyond half of its time, and buying stops meanwhile."""

from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from ops.simulator import GetimgSettings, Simulator, SimulatorConfig
from producer import Client
from shared.db import pauses
from shared.db.engine import Engine, transaction
from shared.db.pauses import Probing
from shared.lifecycle import Stage
from shared.settings import Settings
from tests.support import rows
from tests.support.drain import drain, run_stage, runtime_for, settings_for
from tests.support.image_host import Answer, ImageHost, picture, serving_images
from tests.support.outcome import BLOOM, GETIMG, ended, only, paid
from worker.claiming import Parcel
from worker.runtime import Runtime

PASSING = {
    "500": Answer(500, b""),
    "503": Answer(503, b""),
    "429": Answer(429, b""),
    "403": Answer(403, b""),
    "404": Answer(404, b""),
    "410": Answer(410, b""),
    "408": Answer(408, b""),
    "400": Answer(400, b""),
    "206": Answer(206, picture()[:20]),
    "a body that breaks off": Answer(200, picture()[:20], announced=len(picture())),
    "a redirect to nowhere": Answer(302, b"", {"Location": "http://127.0.0.1:9/"}),
    "a redirect to a private address": Answer(302, b"", {"Location": "http://10.255.255.1/login"}),
    "a redirect to plain http": Answer(302, b"", {"Location": "http://login.example/"}),
    "a redirect with credentials": Answer(302, b"", {"Location": "https://user:secret@login.example/"}),
}
ABSURD = [
    "999999999",
    "9" * 30,
    "1e9",
    "-5",
    "0.5",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
]
NUMBERS = count()


@pytest.fixture
def host() -> Iterator[ImageHost]:
    with serving_images(Answer()) as running:
        yield running


def bought(engine: Engine, host: ImageHost, *, account: str = "getimg", life: str | None = "1 hour") -> Any:
    """Bring one job of `account` to where its image is to be fetched from `host`; return its id."""
    claim = rows.transferring(engine, link=f"{host.url}/{next(NUMBERS)}?sig=secret")
    whose = {"account": account, "id": claim.job_id}
    rows.rows(engine, "UPDATE job SET account = :account, provider = :account WHERE id = :id", **whose)
    rows.rows(engine, "UPDATE submission SET account = :account WHERE job_id = :id", **whose)
    link = "UPDATE image SET account = :account, link_expires_at = now() + CAST(:life AS interval) WHERE job_id = :id"
    rows.rows(engine, link, life=life, **whose)
    return claim.job_id


def fetch_once(runtime: Runtime, engine: Engine, job: Any, account: str = "getimg") -> Any:
    """Try the job's download once, with the claim that this takes; return the job's row."""
    rows.rows(engine, "UPDATE job SET due_at = now() WHERE id = :id AND due_at IS NOT NULL", id=job)
    ((began,),) = rows.rows(engine, "SELECT clock_timestamp()")
    claims = rows.claim(engine, "transfer", account=account, count=10)
    run_stage(runtime, Parcel(Stage.TRANSFER, account, tuple(claim for claim in claims if claim.job_id == job)))
    return look(engine, job, began)


def look(engine: Engine, job: Any, began: Any = None) -> Any:
    """Return the job's row: `wait` is what is left of its wait now, `asked` the whole wait since `began`."""
    (row,) = rows.rows(
        engine,
        "SELECT job.state, job.error_code, job.error, job.tries, extract(epoch FROM due_at - now()) AS wait, "
        "extract(epoch FROM due_at - coalesce(CAST(:began AS timestamptz), now())) AS asked, "
        "claimed_by, image.state AS image_state FROM job JOIN image ON job_id = id WHERE id = :id",
        id=job,
        began=began,
    )
    return row


@pytest.mark.parametrize("account", ["getimg", "bloom"])
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_can_pass_ends_nothing_while_the_link_lives_and_holds_no_slot(
    runtime: Runtime, engine: Engine, host: ImageHost, fault: str, account: str
) -> None:
    job = bought(engine, host, account=account)
    host.answer = PASSING[fault]
    for _ in range(runtime.settings.fetch_tries + 3):
        row = fetch_once(runtime, engine, job, account)
        assert (row.state, row.image_state, row.claimed_by) == ("transferring", "ready", None)
        assert row.error_code.startswith(("result_", "upstream_gone"))
        assert row.error
        assert "secret" not in row.error
    assert row.tries == runtime.settings.fetch_tries + 3
    host.answer = Answer()
    assert fetch_once(runtime, engine, job, account).state == "succeeded"


@pytest.mark.parametrize("body", [b"<html>be right back</html>", b"", b'{"message": "upstream is busy"}'])
def test_a_page_in_place_of_an_image_ends_nothing_within_hours_while_the_link_lives(
    settings: Settings, endpoints: Any, engine: Engine, host: ImageHost, body: bytes
) -> None:
    with runtime_for(
        settings.model_copy(update={"fetch_page_tries": 9, "believe_seconds": 900.0}), endpoints
    ) as runtime:
        job, lost = (bought(engine, host, life="10 years") for _ in range(2))
        waits = []
        host.answer = Answer(200, body)
        for _ in range(8):
            for row in (fetch_once(runtime, engine, job), fetch_once(runtime, engine, lost)):
                assert (row.state, row.error_code) == ("transferring", "result_invalid")
            waits.append(round(row.asked, -1))
        assert waits == [300, 600, *[900] * 6]
        assert fetch_once(runtime, engine, lost).state == "failed"
        host.answer = Answer()
        assert fetch_once(runtime, engine, job).state == "succeeded"


@pytest.mark.parametrize("said", ABSURD)
@pytest.mark.parametrize("status", [429, 503])
def test_a_servers_wait_is_never_more_than_half_of_what_the_link_has_left(
    runtime: Runtime, engine: Engine, host: ImageHost, status: int, said: str
) -> None:
    job = bought(engine, host, life="100 seconds")
    host.answer = Answer(status, b"", {"Retry-After": said})
    tried = fetch_once(runtime, engine, job)
    assert tried.asked >= 0
    assert tried.wait <= 50


@pytest.mark.parametrize("said", ABSURD)
def test_without_an_end_of_the_link_a_servers_wait_is_a_quarter_of_an_hour_at_most(
    runtime: Runtime, engine: Engine, host: ImageHost, said: str
) -> None:
    job = bought(engine, host, life=None)
    host.answer = Answer(503, b"", {"Retry-After": said})
    tried = fetch_once(runtime, engine, job)
    assert tried.asked >= 0
    assert tried.wait <= 900


def test_a_servers_wait_ends_at_the_jobs_last_bound(runtime: Runtime, engine: Engine, host: ImageHost) -> None:
    job = bought(engine, host, life=None)
    rows.rows(engine, "UPDATE job SET collect_until = now() + interval '100 seconds'")
    host.answer = Answer(503, b"", {"Retry-After": "86400"})
    assert 60 < fetch_once(runtime, engine, job).wait <= 100


def test_a_server_that_asks_for_a_short_wait_gets_it(runtime: Runtime, engine: Engine, host: ImageHost) -> None:
    job = bought(engine, host)
    host.answer = Answer(503, b"", {"Retry-After": "120"})
    assert 100 < fetch_once(runtime, engine, job).wait <= 120


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_link_ends_its_image_only_after_its_own_time_and_a_margin(
    runtime: Runtime, engine: Engine, host: ImageHost, status: int
) -> None:
    job = bought(engine, host, life="-30 seconds")
    host.answer = Answer(status, b"")
    assert fetch_once(runtime, engine, job).state == "transferring"
    rows.rows(engine, "UPDATE image SET link_expires_at = now() - interval '61 seconds'")
    row = fetch_once(runtime, engine, job)
    assert (row.state, row.error_code) == ("failed", "result_unavailable" if status == 503 else "result_expired")
    assert "its link is over" in row.error


def test_a_link_past_its_time_that_gives_the_image_is_used(runtime: Runtime, engine: Engine, host: ImageHost) -> None:
    job = bought(engine, host, life="-2 hours")
    assert fetch_once(runtime, engine, job).state == "succeeded"


def test_a_link_without_an_end_is_tried_until_the_last_bound_which_says_what_kept_it(
    runtime: Runtime, engine: Engine, host: ImageHost
) -> None:
    job = bought(engine, host, life=None)
    host.answer = Answer(503, b"")
    assert fetch_once(runtime, engine, job).state == "transferring"
    rows.rows(engine, "UPDATE job SET collect_until = now()")
    row = fetch_once(runtime, engine, job)
    assert (row.state, row.error_code) == ("failed", "never_finished")
    assert "result_unavailable: 127.0.0.1: HTTP 503" in row.error


@pytest.mark.parametrize("announced", [10, 200_000_000])
def test_a_whole_image_whose_length_is_announced_too_large_is_taken_when_it_comes_so_again(
    runtime: Runtime, engine: Engine, host: ImageHost, announced: int
) -> None:
    job = bought(engine, host)
    host.answer = Answer(announced=len(picture()) + announced)
    row = fetch_once(runtime, engine, job)
    assert (row.state, row.error_code) == ("transferring", "result_truncated")
    assert fetch_once(runtime, engine, job).state == "succeeded"


def test_one_false_length_is_forgotten_with_the_next_download(
    runtime: Runtime, engine: Engine, host: ImageHost
) -> None:
    job = bought(engine, host)
    host.answer = Answer(announced=len(picture()) + 1)
    fetch_once(runtime, engine, job)
    host.answer = Answer()
    assert fetch_once(runtime, engine, job).state == "succeeded"


def test_half_an_image_is_never_taken_however_often_it_comes(runtime: Runtime, engine: Engine, host: ImageHost) -> None:
    job = bought(engine, host)
    host.answer = Answer(body=picture()[:60], announced=len(picture()))
    for _ in range(4):
        row = fetch_once(runtime, engine, job)
        assert (row.state, row.error_code) == ("transferring", "result_truncated")


def test_what_is_really_too_large_is_final(runtime: Runtime, engine: Engine, host: ImageHost) -> None:
    job = bought(engine, host)
    host.answer = Answer(body=bytes(runtime.settings.max_image_bytes + 1))
    row = fetch_once(runtime, engine, job)
    assert (row.state, row.error_code) == ("failed", "result_too_large")


def account(client: Client, name: str) -> Any:
    return next(row for row in client.accounts() if row["name"] == name)


@pytest.mark.parametrize("name", ["getimg", "bloom"])
def test_buying_stops_after_five_jobs_whose_images_cannot_be_downloaded_and_one_download_resumes_it(
    client: Client, runtime: Runtime, engine: Engine, host: ImageHost, name: str
) -> None:
    jobs = [bought(engine, host, account=name) for _ in range(5)]
    host.answer = Answer(503, b"")
    for job in [*jobs[:4], jobs[0], jobs[0]]:
        fetch_once(runtime, engine, job, name)
    assert account(client, name)["paused_code"] is None
    fetch_once(runtime, engine, jobs[4], name)
    stopped = account(client, name)
    assert stopped["paused_code"] == "results_unreachable"
    assert "5 jobs" in stopped["paused_reason"]
    assert "HTTP 503" in stopped["paused_reason"]
    (claimed,) = [rows.add(engine, [rows.new_job("waits", account=name)], batch="waiting")]
    assert claimed.added == 1
    assert rows.open_intents(engine, rows.claim(engine, account=name), account=name) == []
    host.answer = Answer()
    fetch_once(runtime, engine, jobs[2], name)
    assert account(client, name)["paused_code"] is None


def test_a_success_between_failures_keeps_buying_going(
    client: Client, runtime: Runtime, engine: Engine, host: ImageHost
) -> None:
    jobs = [bought(engine, host) for _ in range(9)]
    for number, job in enumerate(jobs):
        host.answer = Answer() if number == 4 else Answer(503, b"")
        fetch_once(runtime, engine, job)
    assert account(client, "getimg")["paused_code"] is None


OFTEN = Probing(0.001, 0.001)


def stop_buying(engine: Engine) -> None:
    with transaction(engine) as connection:
        for number in range(5):
            job = UUID(int=number)
            pauses.record_undelivered(connection, "getimg", job, reason="HTTP 503", probing=OFTEN)


def test_while_downloads_wait_no_probe_buys_and_without_any_one_does(
    client: Client, runtime: Runtime, engine: Engine, host: ImageHost
) -> None:
    job = bought(engine, host)
    host.answer = Answer(503, b"")
    fetch_once(runtime, engine, job)
    stop_buying(engine)
    with transaction(engine) as connection:
        assert pauses.probe(connection, "getimg", OFTEN) is not None
        assert pauses.waiting_work_will_tell(connection, "getimg", "results_unreachable")
    rows.rows(engine, "UPDATE image SET link_expires_at = now() - interval '1 day'")
    assert fetch_once(runtime, engine, job).state == "failed"
    with transaction(engine) as connection:
        assert not pauses.waiting_work_will_tell(connection, "getimg", "results_unreachable")
        assert pauses.resume(connection, "getimg", ended="results_unreachable")
    rows.add(engine, [rows.new_job(str(number), account="getimg") for number in range(5)], batch="after")
    claims = rows.claim(engine, account="getimg", count=5)
    assert len(rows.open_intents(engine, claims, account="getimg")) == 1
    # One more job that fails, and buying stops again.
    with transaction(engine) as connection:
        pauses.record_undelivered(connection, "getimg", job, reason="HTTP 503", probing=OFTEN)
    assert account(client, "getimg")["paused_code"] == "results_unreachable"


def test_a_resume_by_hand_forgets_the_failures(client: Client, engine: Engine, host: ImageHost) -> None:
    job = bought(engine, host)
    stop_buying(engine)
    client.resume("getimg")
    with transaction(engine) as connection:
        pauses.record_undelivered(connection, "getimg", job, reason="HTTP 503", probing=OFTEN)
    assert account(client, "getimg")["paused_code"] is None


def test_a_host_that_answers_503_for_long_loses_no_image_and_stops_the_buying(
    database_url: str, endpoints: Any
) -> None:
    config = SimulatorConfig(time_scale=100, pixels=64, getimg=GetimgSettings(link_seconds=360_000))
    with Simulator(config).serve() as simulated:
        settings = settings_for(database_url, endpoints, simulated.url, getimg={"concurrency": 4})
        with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
            down = {"match": {"route": "download", "provider": "getimg"}, "fault": "refuse_503", "times": None}
            simulated.put_faults([down])
            client.enqueue([GETIMG] * 25, batch="b")
            drain(runtime, lambda: account(client, "getimg")["paused_code"] == "results_unreachable")
            asked = len(simulated.requests(route="download", limit=10_000))
            more = asked + 5 * (runtime.settings.fetch_tries + 2)
            drain(runtime, lambda: len(simulated.requests(route="download", limit=10_000)) >= more)
            # What was in the air when the fifth failed is bought too.
            assert paid(simulated) <= 5 + 4 + 4
            assert set(client.totals("b")) == {"queued", "transferring"}
            simulated.put_faults([])
            drain(runtime, ended(client))
            assert client.totals("b") == {"succeeded": 25}
            assert paid(simulated) == 25


def test_the_wait_for_a_link_is_told_with_its_reason_and_its_end(
    client: Client, runtime: Runtime, simulated: Any
) -> None:
    simulated.put_faults([{"match": {"route": "download"}, "fault": "refuse_503", "times": None}])
    client.enqueue([BLOOM], batch="b")
    drain(runtime, lambda: only(client)["job"]["error_code"] == "result_unavailable")
    job = only(client)["job"]
    assert (job["state"], job["due_at"] < job["collect_until"]) == ("transferring", True)
    assert len([event for event in only(client)["events"] if event["code"] == "result_unavailable"]) == 1
