"""Candidates of lost calls: shown side by side, chosen by a person, collected once, and erased with their job."""

import io
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from ops.dashboard.sessions import Right
from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from shared.db.jobs.choose import NotACandidateError
from shared.db.jobs.resolve import NotHeldError
from shared.db.lost_calls import candidates
from shared.db.lost_calls.candidates import MOST_TRIES
from shared.tokens import Scope
from tests.integration.test_api import refused
from tests.support import held, rows
from tests.support.api import bearer, serving
from tests.support.browsing import signed_in, storage_of
from tests.support.command import genqueue
from tests.support.drain import drain, on_loop
from tests.support.lost import (
    adopted,
    as_if_sent_a_minute_ago,
    bought,
    fast_simulator,
    finish,
    ledger_is_the_bill,
    look_up,
    lose,
    make_by_hand,
    opened,
    row,
    until_lost,
)
from worker.runtime import Runtime
from worker.thumbnails.decoder import Decoder
from worker.upkeep.previews import preview_some


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    with fast_simulator().serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with opened(database_url, endpoints, simulated) as made:
        yield made


def hold_two(client: Client, runtime: Runtime, simulated: Simulator) -> list[UUID]:
    """Hold two calls of one prompt that asked for different shapes, both of which were bought."""
    lose(simulated, times=2)
    client.enqueue([row("bloom", aspect_ratio=ratio) for ratio in ("16:9", "1:1")], batch="b")
    assert finish(client, runtime) == {"in_doubt": 2}
    return [job["id"] for job in client.jobs("b")]


def shown(engine: Engine) -> list[Any]:
    return rows.rows(engine, "SELECT * FROM candidate ORDER BY submission_id, upstream_id")


def preview(runtime: Runtime, account: str = "bloom", *, decoder: Decoder | None = None) -> None:
    used = decoder or Decoder()
    on_loop(runtime, partial(preview_some, runtime, runtime.accounts[account], used))
    used.close()


def test_held_calls_show_their_candidates_and_each_takes_the_one_that_a_person_chooses(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    jobs = hold_two(client, runtime, simulated)
    assert {each.upstream_id for each in shown(engine)} == set(bought(simulated))
    assert len(shown(engine)) == 4
    preview(runtime)
    for each in shown(engine):
        assert (each.key, each.due_at) == (candidates.preview_key("bloom", each.upstream_id), None)
        file = io.BytesIO()
        runtime.storage.get_to(each.key, file)
        with Image.open(file) as small:
            assert (small.format, max(small.size) <= 320) == ("WEBP", True)
    first, second = client.open_choice(jobs[0]).candidates
    assert client.choose(jobs[0], [first]) == "pending"
    assert client.open_choice(jobs[1]).candidates == [second]
    with pytest.raises(NotACandidateError, match="has an owner"):
        client.choose(jobs[1], [first])
    assert client.choose(jobs[1], [second]) == "pending"
    with pytest.raises(NotHeldError):
        client.choose(jobs[1], [second])
    drain(runtime, lambda: client.totals("b") == {"succeeded": 2})
    assert adopted(engine) == bought(simulated)
    assert ledger_is_the_bill(client, simulated, "bloom")
    assert [(line["act"], line["terms"], line["job"]) for line in client.audited()] == [
        ("resolve", "--bought", jobs[1]),
        ("resolve", "--bought", jobs[0]),
    ]


@pytest.mark.parametrize("provider", ["bloom", "posteverywhere"])
def test_a_picture_that_somebody_made_by_hand_stands_beside_ours(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    foreign = make_by_hand(simulated, provider)
    lose(simulated)
    client.enqueue([row(provider)], batch="b")
    until_lost(client, runtime, 1)
    as_if_sent_a_minute_ago(engine)
    look_up(runtime, engine, provider)
    assert {each.upstream_id for each in shown(engine)} == set(bought(simulated)) >= {foreign}
    preview(runtime, provider)
    assert all(each.key for each in shown(engine))


def test_a_candidate_that_cannot_be_fetched_changes_nothing_and_is_given_up_after_some_tries(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    hold_two(client, runtime, simulated)
    before = held.everything(engine)
    simulated.put_faults([{"match": {"route": "poll"}, "fault": {"kind": "error_5xx", "status": 500}, "times": None}])
    for _ in range(MOST_TRIES + 1):
        rows.rows(engine, "UPDATE candidate SET due_at = now() WHERE due_at IS NOT NULL")
        preview(runtime)
    assert {(each.key, each.tries, each.due_at) for each in shown(engine)} == {(None, MOST_TRIES, None)}
    assert held.everything(engine) == before
    assert not rows.rows(engine, "SELECT 1 FROM image")


def test_a_decoder_that_dies_leaves_a_candidate_without_a_preview(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    hold_two(client, runtime, simulated)
    preview(runtime, decoder=Decoder(("false",)))
    assert {each.key for each in shown(engine)} == {None}


def test_the_page_shows_candidates_side_by_side_and_collects_the_chosen_one(
    client: Client,
    runtime: Runtime,
    simulated: Simulator,
    engine: Engine,
    endpoints: Endpoints,
    tmp_path: Path,
) -> None:
    job, other = hold_two(client, runtime, simulated)
    preview(runtime)
    first, second = client.open_choice(job).candidates
    name = candidates.preview_name("bloom", first)
    wish = {"what": "bought", "job": str(job), "picture": name, "back": "/held"}
    with signed_in(engine, tmp_path, settings=runtime.settings, storage=storage_of(endpoints)) as browser:
        page = browser.get("/held")
        assert len(browser.statements) <= 3
        assert page.text.count('src="/preview/') == 4
        assert f'value="{name}"' in browser.get(f"/job/{job}").text
        assert len(browser.statements) <= 3
        small = browser.get(f"/preview/{name}")
        assert (small.status_code, small.headers["content-type"], small.content[8:12]) == (200, "image/webp", b"WEBP")
        assert {browser.get(f"/preview/{each}").status_code for each in ("0" * 64, "x", "..%2Fx")} == {404}
        both = browser.get("/act", **{**wish, "picture": [name, candidates.preview_name("bloom", second)]})
        assert (both.status_code, "asked for 1" in both.text) == (400, True)
        proposed = browser.get("/act", **wish).text
        assert f"genqueue resolve --bought {first} {job}" in proposed
        assert "The ledger will say" in proposed
        assert browser.act(**wish).headers["location"] == "/held"
        assert "the job is pending" in browser.get("/held").text
        assert browser.get("/held").text.count('src="/preview/') == 1
    assert {found.state for found in (rows.job(engine, job), rows.job(engine, other))} == {"pending", "in_doubt"}


def test_previews_are_for_those_who_may_see_pictures_and_a_choice_for_those_who_operate(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, tmp_path: Path
) -> None:
    job, _ = hold_two(client, runtime, simulated)
    preview(runtime)
    name = candidates.preview_name("bloom", client.open_choice(job).candidates[0])
    with signed_in(engine, tmp_path, rights={Right.SEE}, settings=runtime.settings) as browser:
        page = browser.get("/held").text
        assert "/preview/" not in page
        assert 'name="picture"' not in page
        assert browser.get(f"/preview/{name}").status_code == 403
        assert browser.get("/act", what="bought", job=str(job), picture=name).status_code == 403
    with signed_in(engine, tmp_path, rights={Right.SEE, Right.OPERATE}, settings=runtime.settings) as browser:
        proposed = browser.get("/act", what="bought", job=str(job), picture=name).text
        assert "The ledger will say the price of its account." in proposed  # no amount for who may not see money


def test_the_command_names_the_candidates_and_collects_one(
    client: Client, runtime: Runtime, simulated: Simulator, database_url: str, engine: Engine
) -> None:
    job, _ = hold_two(client, runtime, simulated)
    first, second = client.open_choice(job).candidates
    env = {"GENQUEUE_DATABASE_URL": database_url}
    told = genqueue("explain", str(job), env=env).out
    assert first in told
    assert second in told
    assert "--bought ID" in told
    assert genqueue("resolve", str(job), "--bought", "img_nobody", env=env).code == 2
    assert genqueue("resolve", str(job), "--bought", first, "--fail", env=env).code == 2
    assert genqueue("resolve", "--batch", "b", "--bought", first, env=env).code == 2
    assert rows.job(engine, job).state == "in_doubt"
    assert "is pending" in genqueue("resolve", str(job), "--bought", first, "--charged", "1.5", env=env).err
    assert rows.job(engine, job).state == "pending"


def test_the_api_takes_the_picture_that_a_person_names_of_those_in_the_story(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    job, _ = hold_two(client, runtime, simulated)
    with serving(client) as http:
        http.headers.update(bearer(client, Scope.OPS, Scope.JOBS_READ))
        first, second = (one["id"] for one in http.get(f"/v1/jobs/{job}/story").json()["candidates"])
        path = f"/v1/jobs/{job}:choose"
        refused(http.post(path, json={"pictures": ["img_nobody"]}), 422, "not_a_candidate")
        refused(http.post(path, json={"pictures": [first, second]}), 422, "not_a_candidate")
        refused(http.post(path, json={"pictures": []}), 422, "request_invalid")
        refused(http.post(path, json={"pictures": [first], "charged": "much"}), 422, "request_invalid")
        assert rows.job(engine, job).state == "in_doubt"
        chosen = http.post(path, json={"pictures": [first], "charged": "1.5"})
        assert (chosen.status_code, chosen.json()["done"]) == (200, {"pending": 1})
        refused(http.post(path, json={"pictures": [first]}), 409, "not_held")
    assert rows.job(engine, job).state == "pending"
    line = client.audited(1)[0]
    assert (line["act"], line["terms"], line["job"]) == ("resolve", "--bought --charged 1.5", job)


def test_fewer_pictures_than_asked_for_leave_the_others_not_delivered(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    lose(simulated, times=2)
    client.enqueue([row("bloom", n=2), row("bloom", n=1)], batch="b")
    assert finish(client, runtime) == {"in_doubt": 2}
    job = client.jobs("b")[0]["id"]
    choice = client.open_choice(job)
    assert (len(choice.candidates), choice.wanted) == (3, 2)
    assert client.choose(job, choice.candidates[:1]) == "pending"
    drain(runtime, lambda: client.totals("b").get("pending", 0) + client.totals("b").get("transferring", 0) == 0)
    assert [image["state"] for image in client.story(job)["images"]] == ["stored", "failed"]


def test_candidates_leave_with_their_job_and_a_shared_preview_with_the_last(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    jobs = hold_two(client, runtime, simulated)
    preview(runtime)
    keys = {each.key for each in shown(engine)}
    for job in jobs:
        client.carry_out_resolve(client.plan_resolve(resend=False, job=job, charged=None))
        client.carry_out_resolve(client.plan_resolve(resend=False, job=job, charged=client.bill()[0]["held"] * 0))
    client.carry_out_erase(client.plan_erase(job=jobs[0]))
    assert waiting(engine) == set()
    assert len(shown(engine)) == 2
    client.carry_out_erase(client.plan_erase(job=jobs[1]))
    assert waiting(engine) == keys
    assert shown(engine) == []


def erase_all(client: Client, jobs: list[UUID]) -> None:
    for job in jobs:
        client.resolve(job, resend=False, charged=Decimal(1))
    client.carry_out_erase(client.plan_erase(batch="b"))


def test_a_preview_that_is_made_while_its_jobs_are_erased_is_deleted(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = hold_two(client, runtime, simulated)
    names, put, done = _keys(engine), runtime.storage.put, list[int]()

    def stores(*args: Any, **kwargs: Any) -> None:
        if not done:
            done.append(1)
            erase_all(client, jobs)
            rows.rows(engine, "DELETE FROM doomed_object")  # a worker has deleted all that by now
        put(*args, **kwargs)

    monkeypatch.setattr(runtime.storage, "put", stores)
    preview(runtime)
    left = {name for name in names if runtime.storage.head(name) is not None}
    assert left
    assert left <= waiting(engine)


def test_a_preview_whose_worker_died_before_it_recorded_it_leaves_with_its_job(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = hold_two(client, runtime, simulated)
    monkeypatch.setattr(candidates, "made", lambda *_: None)
    preview(runtime)
    left = {name for name in _keys(engine) if runtime.storage.head(name) is not None}
    erase_all(client, jobs)
    assert left
    assert left <= waiting(engine)


def _keys(engine: Engine) -> set[str]:
    return {candidates.preview_key("bloom", each.upstream_id) for each in shown(engine)}


def waiting(engine: Engine) -> set[str]:
    """Previews that a worker will delete."""
    found = rows.rows(engine, "SELECT key FROM doomed_object WHERE key LIKE 'submissions/preview-%'")
    return {each.key for each in found}
