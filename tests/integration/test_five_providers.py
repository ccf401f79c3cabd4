"""All five providers over the whole road, judged by the simulator's bill and the bucket."""

import dataclasses
import hashlib
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from ops.simulator import BanatieSettings, PostEverywhereSettings, Simulator, SimulatorConfig
from ops.stack import Endpoints
from producer import Client
from producer.client import InvalidRowsError, is_settled
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.five import five_accounts
from tests.support.kept import in_bucket
from worker.runtime import Runtime

ROWS: dict[str, dict[str, Any]] = {
    "banatie": {"prompt": "a quiet harbour", "aspect_ratio": "16:9"},
    "bloom": {"prompt": "a quiet harbour", "n": 2},
    "getimg": {"prompt": "a quiet harbour", "model": "seedream-5-lite"},
    "openrouter": {"prompt": "a quiet harbour", "model": "bytedance-seed/seedream-4.5", "n": 3},
    "posteverywhere": {"prompt": "a quiet harbour", "model": "flux-schnell"},
}


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    config = SimulatorConfig(
        time_scale=100,
        pixels=64,
        banatie=BanatieSettings(requests_per_hour=None),
        posteverywhere=PostEverywhereSettings(url="url", generations_per_hour=None, requests_per_minute=None),
    )
    with Simulator(config).serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    settings = settings_for(database_url, endpoints, simulated.url, accounts=five_accounts(simulated.url))
    with runtime_for(settings, endpoints) as made:
        yield made


@pytest.fixture
def client(runtime: Runtime) -> Iterator[Client]:
    with Client(settings=runtime.settings) as opened:
        yield opened


def finish(client: Client, runtime: Runtime) -> list[dict[str, Any]]:
    drain(runtime, lambda: is_settled(client.totals("b")))
    return list(client.results("b"))


@pytest.mark.parametrize("provider", ROWS)
def test_every_image_is_bought_once_and_stored_with_its_hash(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{"provider": provider, **ROWS[provider]}] * 2, batch="b")
    rows = finish(client, runtime)
    assert [row["state"] for row in rows] == ["stored"] * (2 * ROWS[provider].get("n", 1))
    for row in rows:
        file = io.BytesIO()
        runtime.storage.get_to(row["key"], file)
        assert hashlib.sha256(file.getvalue()).hexdigest() == row["sha256"]
    assert simulated.counters()["accepted"] == {provider: 2}
    (ours,) = client.bill("b")
    charged = simulated.bill()["totals"][provider]
    assert (
        f"{ours['settled'].normalize():f}"
        == f"{ours['settled'].normalize().__class__(charged['amount']).normalize():f}"
    )


@pytest.mark.parametrize("provider", ROWS)
def test_a_lost_reply_is_found_again_or_held_and_never_sent_again(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    client.enqueue([{"provider": provider, **ROWS[provider]}], batch="b")
    finish(client, runtime)
    found = runtime.accounts[provider].wire.find_by not in {"usage", "nothing"}
    assert client.totals("b") == {"succeeded" if found else "in_doubt": 1}
    assert simulated.counters()["paid_posts"] == {provider: 1}


def test_an_answer_with_images_is_removed_once_they_are_stored(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{"provider": "openrouter", **ROWS["openrouter"]}], batch="b")
    finish(client, runtime)
    (submission,) = client.story(client.jobs("b")[0]["id"])["submissions"]
    assert not in_bucket(runtime.storage, submission["id"])
    assert submission["id"] not in runtime.replies.leftovers()


def has_settled(client: Client, batch: str) -> bool:
    return is_settled(client.totals(batch))


def test_a_picture_without_a_link_ends_as_the_setting_says(
    client: Client, runtime: Runtime, simulated: Simulator, database_url: str, endpoints: Endpoints
) -> None:
    with Simulator(SimulatorConfig(time_scale=100, pixels=64)).serve() as silent:
        accounts = five_accounts(silent.url)
        for said, ends in (("fail", ("failed", "result_not_downloadable")), ("succeed", ("succeeded", None))):
            accounts["posteverywhere"]["media_without_url"] = said
            settings = settings_for(database_url, endpoints, silent.url, accounts=accounts)
            with runtime_for(settings, endpoints) as made:
                client.enqueue([{"provider": "posteverywhere", **ROWS["posteverywhere"]}], batch=said)
                drain(made, partial(has_settled, client, said))
            (job,) = client.jobs(said)
            assert (job["state"], job["error_code"]) == ends
        (image,) = client.story(job["id"])["images"]
        assert image["state"] == "upstream_only"
        assert image["upstream_id"]


def refuse(times: int | None) -> list[dict[str, Any]]:
    fault = {"kind": "error_5xx", "status": 502}
    return [{"match": {"route": "submit"}, "fault": fault, "times": times}]


def test_an_unbilled_refusal_is_tried_again(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    simulated.put_faults(refuse(2))
    client.enqueue([{"provider": "openrouter", **ROWS["openrouter"]}], batch="b")
    finish(client, runtime)
    assert client.totals("b") == {"succeeded": 1}
    assert simulated.counters()["paid_posts"] == {"openrouter": 3}


def test_an_unbilled_refusal_that_lasts_has_a_last_try(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    simulated.put_faults(refuse(None))
    client.enqueue([{"provider": "openrouter", **ROWS["openrouter"]}], batch="b")
    finish(client, runtime)
    (job,) = client.jobs("b")
    assert (job["state"], job["error_code"]) == ("failed", "provider_unavailable")
    assert simulated.counters()["paid_posts"] == {"openrouter": runtime.settings.submit_tries}


class Died(BaseException):
    """A worker's process ended."""


class DyingRuntime(Runtime):
    """A worker that dies instead of committing what it learned."""

    async def write_joined(self, *_: Any, **__: Any) -> Any:
        raise Died


def test_an_answer_whose_commit_was_lost_with_its_worker_is_found_again(
    client: Client, runtime: Runtime, simulated: Simulator, database_url: str
) -> None:
    client.enqueue([{"provider": "openrouter", **ROWS["openrouter"]}], batch="b")
    dying = DyingRuntime(
        **{item.name: getattr(runtime, item.name) for item in dataclasses.fields(runtime) if item.init}
    )
    with pytest.raises(BaseExceptionGroup):
        drain(dying, lambda: False, seconds=20)
    assert client.totals("b") == {"submitting": 1}
    with psycopg.connect(database_url, autocommit=True, options="-c search_path=genqueue") as connection:
        connection.execute("UPDATE job SET due_at = now()")
    assert [row["state"] for row in finish(client, runtime)] == ["stored"] * 3
    assert simulated.counters()["paid_posts"] == {"openrouter": 1}


@pytest.mark.parametrize("options", [{"output_format": "svg"}, {}])
def test_a_vector_models_drawing_is_stored_as_a_download_whether_or_not_svg_was_asked_for(
    client: Client, runtime: Runtime, options: dict[str, str]
) -> None:
    client.enqueue([{"provider": "openrouter", "prompt": "a fox", "model": "sim/vector", **options}], batch="b")
    (row,) = finish(client, runtime)
    assert (row["state"], row["content_type"], row["key"].rpartition(".")[2]) == ("stored", "image/svg+xml", "svg")
    assert min(row["width"], row["height"]) > 0
    found = runtime.storage._client.head_object(Bucket=row["bucket"], Key=row["key"])
    assert found["ContentDisposition"] == "attachment"


def test_svg_of_a_raster_model_is_refused_by_its_provider_and_nothing_is_bought(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    row = {"provider": "openrouter", "prompt": "a fox", "model": "bytedance-seed/seedream-4.5", "output_format": "svg"}
    client.enqueue([row], batch="b")
    (row,) = finish(client, runtime)
    assert (row["job_state"], row["error_code"]) == ("failed", "provider_rejected")
    assert simulated.bill()["lines"] == []


@pytest.mark.parametrize("provider", sorted(set(ROWS) - {"openrouter"}))
def test_svg_is_refused_before_anything_is_enqueued_where_no_document_offers_it(client: Client, provider: str) -> None:
    with pytest.raises(InvalidRowsError):
        client.enqueue([{**ROWS[provider], "provider": provider, "output_format": "svg"}], batch="b")


def test_a_cut_picture_inside_an_answer_is_kept_at_once_for_the_answer_stays_what_it_is(
    client: Client, runtime: Runtime
) -> None:
    row = {**ROWS["openrouter"], "n": 1, "prompt": "[sim:corrupt] a harbour", "provider": "openrouter"}
    client.enqueue([row], batch="b")
    (row,) = finish(client, runtime)
    assert (row["job_state"], row["error_code"]) == ("failed", "result_unverified")
    (job,) = client.jobs("b")
    codes = [event["code"] for event in client.story(job["id"])["events"]]
    assert "result_incomplete" not in codes
    assert client.accept(client.unverified(batch="b")).succeeded == 1
