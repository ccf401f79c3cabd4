"""The client that services install, against the API: one order, sent again, waited for, read, and its webhooks."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx
import pytest
from genqueue_client import (
    ApiError,
    AsyncClient,
    CapReachedError,
    ConflictError,
    NotAllowedError,
    NotEndedError,
    NotFoundError,
    RowsInvalidError,
    ServerError,
    UnreachableError,
    WebhookError,
    verify_webhook,
)
from genqueue_client import Client as ApiClient
from genqueue_client.calls import reference
from genqueue_client.tries import pause, retry_after
from PIL import Image
from pydantic import SecretStr

from producer import Client
from shared.db.engine import Engine
from shared.webhooks import secret, signature
from tests.support import rows as table
from tests.support.api import bearer, serving
from tests.support.drain import drain
from tests.support.outcome import BLOOM, ended
from worker.runtime import Runtime

HARBOUR: dict[str, Any] = {"provider": "bloom", "prompt": "a quiet harbour", "batch": "shop"}


class Faults(httpx.HTTPTransport):
    """Lets some requests fail: a lost answer, a lost request, or an answer of its own."""

    def __init__(self, *faults: str | int) -> None:
        super().__init__()
        self.left = list(faults)
        self.sent = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        fault = self.left.pop(0) if self.left else None
        self.sent += 1
        if fault == "lost":
            raise httpx.ConnectError("lost")
        if isinstance(fault, int):
            return httpx.Response(fault, json={"code": "database_unavailable"}, headers={"retry-after": "0"})
        response = super().handle_request(request)
        if fault == "answer lost":
            response.read()
            raise httpx.ReadError("lost")
        return response


@pytest.fixture
def url(client: Client) -> Iterator[str]:
    with serving(client, open_to_all=True) as http:
        yield str(http.base_url)


@pytest.fixture
def api(url: str) -> Iterator[ApiClient]:
    with ApiClient(url) as opened:
        yield opened


@contextmanager
def working(runtime: Runtime, until: Callable[[], bool]) -> Iterator[None]:
    """Run a worker beside what the test does, until `until()`."""
    thread = threading.Thread(target=drain, args=(runtime, until))
    thread.start()
    try:
        yield
    finally:
        thread.join(60)


def test_an_order_is_waited_for_and_its_images_are_read(api: ApiClient, client: Client, runtime: Runtime) -> None:
    job = api.submit(**HARBOUR, custom_id="hero", n=2, metadata={"order": 7})
    with working(runtime, ended(client, "shop")):
        assert job.wait(timeout=30) is job
    assert (job.state, job.succeeded, job.ended, job.held, job.custom_id) == ("succeeded", True, True, False, "hero")
    assert [image.state for image in job.images] == ["stored", "stored"]
    assert job.images[0].url is not None
    assert job.images[0].url.startswith("https://bucket.test/")
    assert job.metadata == {"order": 7}
    assert job.money is not None
    assert (job.money.settled, job.money.unit) == (2, "credit")
    assert job.finished_at is not None
    assert job.created_at <= job.finished_at <= datetime.now(UTC)


def test_an_order_whose_answer_is_lost_is_sent_again_and_is_one_job(url: str, client: Client) -> None:
    faults = Faults("answer lost", "lost", 503)
    with ApiClient(url, transport=faults) as api:
        job = api.submit(**HARBOUR)  # without a custom_id of its own
    assert faults.sent == 4
    assert client.totals("shop") == {"queued": 1}
    assert client.find_job("shop/" + job.custom_id)


def test_the_same_custom_id_is_the_same_job_and_a_changed_order_a_conflict(api: ApiClient) -> None:
    first = api.submit(**HARBOUR, custom_id="hero")
    assert api.submit(**HARBOUR, custom_id="hero").id == first.id
    with pytest.raises(ConflictError, match="already holds hero") as refused:
        api.submit(**{**HARBOUR, "prompt": "another"}, custom_id="hero")
    assert refused.value.code == "custom_id_conflict"
    assert api.job(first.id).state == "queued"


def test_what_is_wrong_has_the_words_of_the_api(api: ApiClient) -> None:
    with pytest.raises(RowsInvalidError) as refused:
        api.submit(**HARBOUR, n=99)
    assert refused.value.errors[0]["detail"] == "must be a whole number from 1 to 10"
    for ask in (lambda: api.job("01a22a09-36de-7726-8db8-7da239ab479e"), lambda: api.batch("nothing")):
        with pytest.raises(NotFoundError):
            ask()


def test_a_token_that_is_missing_or_has_spent_its_cap_is_told_apart(client: Client) -> None:
    with serving(client) as http:
        url = str(http.base_url)
        with ApiClient(url) as nobody, pytest.raises(NotAllowedError, match="token_missing"):
            nobody.submit(**HARBOUR)
        token = bearer(client, caps={})["Authorization"].removeprefix("Bearer ")
        with ApiClient(url, token) as poor, pytest.raises(CapReachedError):
            poor.submit(**HARBOUR)


def test_when_every_try_fails_the_error_says_so(url: str) -> None:
    with (
        ApiClient(url, tries=2, transport=Faults("lost", "lost")) as api,
        pytest.raises(UnreachableError, match="2 tries"),
    ):
        api.batch("shop")
    with ApiClient(url, tries=2, transport=Faults(503, 503)) as api, pytest.raises(ServerError) as failed:
        api.batch("shop")
    assert isinstance(failed.value, ApiError)
    assert failed.value.status == 503


def test_a_wait_that_runs_out_leaves_the_job_going(api: ApiClient) -> None:
    job = api.submit(**HARBOUR)
    with pytest.raises(NotEndedError):
        job.wait(timeout=0)
    assert job.cancel().state == "cancelled"
    assert job.wait().ended


def test_an_upload_names_the_columns_of_the_file_that_are_ours(api: ApiClient, engine: Engine) -> None:
    file = b"custom_id;provider;prompt;Bildformat\nn7;bloom;one more;1:1\n"
    columns = {"aspect_ratio": "Bildformat"}
    assert api.upload("summer", file, content_type="text/csv", columns=columns).added == 1
    assert table.rows(engine, "SELECT request ->> 'aspect_ratio' FROM job") == [("1:1",)]


def test_a_batch_is_uploaded_counted_listed_and_its_results_read(
    api: ApiClient, client: Client, runtime: Runtime, tmp_path: Path
) -> None:
    file = tmp_path / "spring.csv"
    file.write_text("custom_id,provider,prompt\n" + "".join(f"n{at},bloom,harbour {at}\n" for at in range(7)))
    told: list[tuple[int, int]] = []
    assert api.upload("spring", file, progress=lambda sent, total: told.append((sent, total))).added == 7
    assert told[-1] == (file.stat().st_size, file.stat().st_size)
    assert api.upload("spring", file.read_bytes(), content_type="text/csv").added == 0
    rows = [{"custom_id": "n7", "prompt": "one more"}]
    assert api.upload("spring", rows, provider="bloom").added == 1
    with pytest.raises(ValueError, match="say the content_type"):
        api.upload("spring", b"")
    with working(runtime, ended(client, "spring")):
        batch = api.batch("spring").wait(timeout=60)
    assert (batch.settled, batch.states, batch.jobs) == (True, {"succeeded": 8}, 8)
    assert [one.custom_id for one in api.jobs("spring")] == [f"n{at}" for at in range(8)]
    assert list(api.jobs("spring", state="failed")) == []
    results = list(api.results("spring"))
    assert [row["custom_id"] for row in results] == [f"n{at}" for at in range(8)]
    assert all(row["url"] for row in results)
    assert [one.name for one in api.batches()] == ["spring"]


def test_results_that_break_off_are_resumed_and_no_row_comes_twice(api: ApiClient, url: str, client: Client) -> None:
    client.enqueue([{**BLOOM, "custom_id": f"n{at}", "n": 2} for at in range(40)], batch="shop")
    client.cancel(batch="shop")

    class Breaking(httpx.HTTPTransport):
        breaks = 2

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            if not self.breaks:
                return response
            self.breaks -= 1
            content = response.read()

            def part() -> Iterator[bytes]:
                yield content[: len(content) * 2 // 3]
                raise httpx.ReadError("broke off")

            return httpx.Response(200, content=part())

    with ApiClient(url, transport=Breaking()) as breaking:
        got = [(row["custom_id"], row["index"]) for row in breaking.results("shop")]
    assert got == [(f"n{at}", index) for at in range(40) for index in range(2)]


def test_the_same_calls_can_be_awaited(url: str, client: Client, runtime: Runtime, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncClient(url) as api:
            job = await api.submit(**HARBOUR, custom_id="hero")
            await api.upload("shop", [{"custom_id": "two", "provider": "bloom", "prompt": "x"}])
            await job.wait(timeout=30)
            assert job.succeeded
            batch = await (await api.batch("shop")).wait(timeout=30)
            assert batch.states == {"succeeded": 2}
            assert [one.custom_id async for one in api.jobs("shop")] == ["hero", "two"]
            assert [row["custom_id"] async for row in api.results("shop")] == ["hero", "two"]
            assert [one.name async for one in api.batches()] == ["shop"]
            with pytest.raises(NotFoundError):
                await api.job("01a22a09-36de-7726-8db8-7da239ab479e")

    def both() -> bool:
        return client.batches() != [] and client.totals("shop").get("succeeded") == 2

    with working(runtime, both):
        anyio.run(work)


def test_an_awaited_order_whose_answer_is_lost_is_one_job(url: str, client: Client) -> None:
    class Losing(httpx.AsyncHTTPTransport):
        left = 2

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            self.left -= 1
            if self.left >= 0:
                await response.aread()
                raise httpx.ReadError("lost")
            return response

    async def work() -> None:
        async with AsyncClient(url, transport=Losing()) as api:
            await api.submit(**HARBOUR)

    anyio.run(work)
    assert client.totals("shop") == {"queued": 1}


def test_references_are_bytes_paths_or_links(tmp_path: Path) -> None:
    held = io.BytesIO()
    Image.new("RGB", (8, 8)).save(held, "PNG")
    picture = held.getvalue()
    file = tmp_path / "sketch"
    file.write_bytes(picture)
    assert reference("https://example.com/a.png") == "https://example.com/a.png"
    assert reference(picture) == reference(file)
    assert reference(picture).startswith("data:image/png;base64,")
    with pytest.raises(ValueError, match="PNG, JPEG, WebP or GIF"):
        reference(b"no picture")


def test_waits_between_tries_grow_and_obey_retry_after() -> None:
    assert pause(1, httpx.Response(404)) is None
    lost = [pause(tries, None) or 0 for tries in (1, 3, 10)]
    assert lost[0] <= 0.2 < lost[1] < 1 < lost[2] <= 20
    assert (pause(1, httpx.Response(429, headers={"retry-after": "7"})) or 0) >= 7
    assert retry_after("999999") == 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") == 0


def test_a_webhook_of_ours_verifies_with_either_secret_and_no_other_request_does() -> None:
    master, endpoint = SecretStr("m" * 32), UUID(int=1)
    old, new = (secret(master, endpoint, version) for version in (1, 2))
    body = b'{"type":"job.succeeded","timestamp":"2026-11-30T00:00:00+00:00","data":{"custom_id":"hero"}}'
    now = int(datetime.now(UTC).timestamp())

    def headers(at: int = now) -> dict[str, str]:
        signed = signature([new, old], "msg", at, body)
        return {"Webhook-Id": "msg", "Webhook-Timestamp": str(at), "Webhook-Signature": signed}

    for known in (old, new):
        event = verify_webhook(body, headers(), known.get_secret_value())
        assert (event.id, event.type, event.data) == ("msg", "job.succeeded", {"custom_id": "hero"})
    other = secret(master, endpoint, 3).get_secret_value()
    assert verify_webhook(body, headers(), [other, old.get_secret_value()]).id == "msg"
    for given, with_headers, key in (
        (body + b" ", headers(), old.get_secret_value()),
        (body, headers(), other),
        (body, headers(now - 301), old.get_secret_value()),
        (body, {}, old.get_secret_value()),
        (body, {**headers(), "Webhook-Signature": "v1,é v2,x nonsense"}, old.get_secret_value()),
    ):
        with pytest.raises(WebhookError):
            verify_webhook(given, with_headers, key)


@pytest.mark.parametrize(
    "changed",
    [{"webhook-timestamp": "9" * 400}, {"webhook-id": "\udcff"}, {"webhook-signature": "v1,\udcff"}],
)
def test_a_webhook_whose_headers_no_clock_and_no_text_has_is_refused_as_any_other(changed: dict[str, str]) -> None:
    now = str(int(datetime.now(UTC).timestamp()))
    headers = {"webhook-id": "msg", "webhook-timestamp": now, "webhook-signature": "v1,", **changed}
    with pytest.raises(WebhookError):
        verify_webhook(b"{}", headers, secret(SecretStr("k"), UUID(int=1), 1).get_secret_value())


@pytest.mark.parametrize("empty", ["", "whsec_"])
def test_an_empty_secret_verifies_nothing(empty: str) -> None:
    now = int(datetime.now(UTC).timestamp())
    signed = signature([SecretStr("")], "msg", now, b'{"type": "t", "timestamp": "", "data": {}}')
    headers = {"webhook-id": "msg", "webhook-timestamp": str(now), "webhook-signature": signed}
    with pytest.raises(WebhookError):
        verify_webhook(b'{"type": "t", "timestamp": "", "data": {}}', headers, empty)


def test_a_retry_after_beyond_every_calendar_is_none() -> None:
    assert retry_after("Mon, 01 Jan 99999999999999999999 00:00:00 GMT") == 0
