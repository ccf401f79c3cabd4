"""Paid answers on the whole road: room before the call, the bucket beyond the disk, and no whole image left behind."""

import base64
import gzip
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ops.cli.checks.queue import _waiting_for_room
from ops.cli.checks.servers import _spool
from ops.stack import Endpoints
from producer import Client
from producer.cli.explain import _lines
from shared.db.engine import Engine
from shared.settings import Settings
from tests.support import rows
from tests.support.answering import Answering, answering, inline_answer, png
from tests.support.drain import drain, on_loop, runtime_for, settings_for
from tests.support.kept import in_bucket
from tests.support.limits import largest_file
from tests.support.outcome import ended, ends, only
from worker.evidence.replies import key_of
from worker.runtime import Runtime
from worker.upkeep.kept_answers import read_kept

MIB = 2**20
MODEL = {"openrouter": "bytedance-seed/seedream-4.5", "getimg": "seedream-5-lite"}
PRICE = Decimal("0.05")

pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def start(database_url: str, endpoints: Endpoints, spool: Path) -> Callable[..., Any]:
    """Return how to begin with a provider at `url`."""

    @contextmanager
    def begin(url: str, **changes: Any) -> Iterator[tuple[Runtime, Client]]:
        common = {"api_key": "sim-test", "base_url": url, "timeout_seconds": 20, "quiet_seconds": 60}
        accounts = {
            name: {"provider": name, "prices": {MODEL[name]: str(PRICE)}, **common} for name in ("openrouter", "getimg")
        }
        settings = settings_for(database_url, endpoints, url, accounts=accounts, spool_dir=spool, **changes)
        with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
            yield runtime, client

    return begin


def enqueue(client: Client, provider: str = "openrouter", n: int = 1) -> None:
    row = {"provider": provider, "model": MODEL[provider], "prompt": "a quiet harbour", "custom_id": "a", "n": n}
    client.enqueue([row], batch="b")


def submission(client: Client) -> Any:
    (attempt,) = only(client)["submissions"]
    return attempt


def stored(runtime: Runtime, client: Client) -> list[bytes]:
    found = []
    for row in client.results("b"):
        if row["key"]:
            content = io.BytesIO()
            runtime.storage.get_to(row["key"], content)
            found.append(content.getvalue())
    return found


def money(client: Client) -> tuple[Decimal, Decimal]:
    (line,) = client.bill("b")
    return line["settled"], line["held"]


def told(client: Client) -> str:
    return "\n".join(_lines(only(client)))


@pytest.mark.parametrize(
    "extra",
    [
        b'"x":NaN,',
        b'"x":"' + b"y" * 5_000_000 + b'",',
        b'"x":' + b"[" * 100_000 + b"]" * 100_000 + b",",
        b'"\xff":"\xfe",',
    ],
    ids=["NaN", "huge", "deep", "not UTF-8"],
)
def test_an_odd_answer_is_stored_and_costs_what_it_says(extra: bytes, start: Callable[..., Any]) -> None:
    with (
        answering(b"\xef\xbb\xbf" + inline_answer(png(1), extra=extra)) as provider,
        start(provider.url) as (runtime, client),
    ):
        enqueue(client)
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert stored(runtime, client) == [png(1)]
        assert money(client) == (Decimal("0.04"), 0)
        assert len(provider.posts) == 1


def test_without_room_for_an_answer_nothing_is_sent_and_the_job_waits_with_its_reason(
    start: Callable[..., Any], spool: Path
) -> None:
    with answering(inline_answer(png(1))) as provider, start(provider.url) as (runtime, client):
        enqueue(client)
        with largest_file(16 * MIB), capture_logs() as logs:
            drain(runtime, lambda: ends(client) == {"a": ("queued", "spool_full")})
            (finding,) = _waiting_for_room(client)
        assert provider.posts == []
        assert {one["outcome"] for one in only(client)["submissions"]} == {"not_sent"}
        assert money(client) == (0, 0)
        assert str(spool) in str(only(client)["job"]["error"])
        assert not finding.ok
        assert "1 job waits (spool_full)" in finding.seen
        assert ("warning", "call_waits_for_room") in {(line["log_level"], line["event"]) for line in logs}
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert list(_waiting_for_room(client)) == []
        assert list((spool / "replies").iterdir()) == []


def test_what_outgrows_the_disk_goes_on_into_the_bucket_whole(start: Callable[..., Any], spool: Path) -> None:
    pictures = [png(number, size=2000) for number in range(4)]
    body = inline_answer(*pictures)
    assert len(body) > 60 * MIB
    with answering(body) as provider, start(provider.url) as (runtime, client):
        enqueue(client, n=4)
        with largest_file(40 * MIB):
            drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert sorted(stored(runtime, client)) == sorted(pictures)
        assert (len(provider.posts), money(client)) == (1, (Decimal("0.04"), 0))
        attempt = submission(client)
        assert attempt["reply_sha256"] == hashlib.sha256(body).digest()
        assert list((spool / "replies").iterdir()) == []


def test_the_next_call_gets_twice_the_room_of_the_largest_answer(start: Callable[..., Any], engine: Engine) -> None:
    body = inline_answer(png(1, size=2500))
    with answering(body) as provider, start(provider.url) as (runtime, client):
        enqueue(client)
        drain(runtime, ended(client))
        assert rows.rows(engine, "SELECT largest_reply FROM account WHERE name = 'openrouter'") == [(len(body),)]
        assert 2 * len(body) > 40 * MIB
        client.enqueue(
            [{"provider": "openrouter", "model": MODEL["openrouter"], "prompt": "b", "custom_id": "b"}], batch="c"
        )
        with largest_file(40 * MIB):
            drain(runtime, lambda: ends(client, "c") == {"b": ("queued", "spool_full")})
        assert len(provider.posts) == 1


@pytest.mark.parametrize("promised", [0, 1000], ids=["whole by HTTP", "broken off"])
def test_the_whole_images_of_a_cut_answer_are_stored_and_its_cost_stays_held(
    promised: int, start: Callable[..., Any]
) -> None:
    body = inline_answer(png(1), png(2))
    with answering(body[: len(body) * 3 // 4], promised=promised) as provider, start(provider.url) as (runtime, client):
        enqueue(client, n=2)
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("failed", "partial_result")}
        assert stored(runtime, client) == [png(1)]
        assert money(client) == (0, 2 * PRICE)
        assert len(provider.posts) == 1
        assert "an attempt's cost is still open" in told(client)


def test_images_beyond_those_asked_for_and_a_few_stay_in_the_kept_answer(start: Callable[..., Any]) -> None:
    with (
        answering(inline_answer(*(png(number, size=8) for number in range(30)))) as provider,
        start(provider.url) as (runtime, client),
    ):
        enqueue(client)
        with capture_logs() as logs:
            drain(runtime, ended(client))
        assert len(stored(runtime, client)) == 5
        assert [(line["came"], line["taken"]) for line in logs if line["event"] == "more_images_than_asked"] == [
            (30, 5)
        ]
        assert in_bucket(runtime.storage, submission(client)["id"])


UNREADABLE = b'{"answer": "to another question"}'


@pytest.mark.parametrize("provider_name", ["openrouter", "getimg"])
def test_an_unreadable_answer_is_kept_and_read_again_at_a_persons_word_without_paying(
    provider_name: str, start: Callable[..., Any], spool: Path
) -> None:
    with answering(UNREADABLE, picture=png(7)) as provider, start(provider.url) as (runtime, client):
        enqueue(client, provider_name)
        drain(runtime, lambda: ends(client) == {"a": ("in_doubt", "answer_unreadable")})
        attempt = submission(client)
        key = f"submissions/{attempt['id']}/{'reply' if provider_name == 'openrouter' else 'answer'}"
        kept = io.BytesIO()
        runtime.storage.get_to(key, kept)
        assert kept.getvalue() == UNREADABLE
        assert attempt["kept_as"] == f"s3://{runtime.settings.s3_bucket}/{key}"
        story = told(client)
        assert attempt["kept_as"] in story
        assert "genqueue look-again b/a" in story
        assert list((spool / "replies").iterdir()) == []
        # In place of a reader that has learned this answer: an answer that the reader knows.
        readable = inline_answer(png(7)) if provider_name == "openrouter" else _getimg(provider)
        _replace(runtime, client, key, readable)
        client.look_again(client.find_job("a"))
        drain(runtime, lambda: ends(client) == {"a": ("succeeded", None)})
        assert stored(runtime, client) == [png(7)]
        assert money(client) == (Decimal("0.04"), 0)
        assert len(provider.posts) == 1


def test_an_answer_that_is_read_late_is_recorded_as_fully_as_one_that_was_read_at_once(
    start: Callable[..., Any],
) -> None:
    """Pictures beyond the job's own are listed, and an absurd cost stops the account."""
    with answering(UNREADABLE, picture=png(7)) as provider, start(provider.url) as (runtime, client):
        enqueue(client, "getimg")
        drain(runtime, lambda: ends(client) == {"a": ("in_doubt", "answer_unreadable")})
        links = ", ".join(f'{{"url": "{provider.url}/picture/{number}"}}' for number in range(8))
        said = f'{{"id": "x", "data": [{links}, 7], "usage": {{"total_cost": 40}}}}'
        _replace(runtime, client, f"submissions/{submission(client)['id']}/answer", said.encode())
        client.look_again(client.find_job("a"))
        drain(runtime, lambda: ends(client) == {"a": ("succeeded", None)})
        assert len(client.unowned()) == 3
        assert "the answer names 4 more than can be this job's" in told(client)
        assert money(client) == (Decimal(40), 0)
        assert {one["name"]: one["paused_code"] for one in client.accounts()}["getimg"] == "cost_unbelievable"


@pytest.mark.parametrize("provider_name", ["openrouter", "getimg"])
def test_a_compressed_answer_that_broke_off_behind_its_text_is_a_receipt(
    provider_name: str, start: Callable[..., Any]
) -> None:
    with answering(b"", picture=png(7), promised=100) as provider, start(provider.url) as (runtime, client):
        plain = inline_answer(png(7)) if provider_name == "openrouter" else _getimg(provider)
        provider.answers[0] = gzip.compress(plain)
        enqueue(client, provider_name)
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert stored(runtime, client) == [png(7)]
        assert money(client) == (Decimal("0.04"), 0)


@pytest.mark.parametrize("provider_name", ["openrouter", "getimg"])
def test_a_worker_that_starts_reads_what_its_version_can_read_without_waiting_for_the_jobs_next_look(
    provider_name: str, start: Callable[..., Any], engine: Engine
) -> None:
    with answering(UNREADABLE, picture=png(7)) as provider, start(provider.url) as (runtime, client):
        enqueue(client, provider_name)
        drain(runtime, lambda: ends(client) == {"a": ("in_doubt", "answer_unreadable")})
        readable = inline_answer(png(7)) if provider_name == "openrouter" else _getimg(provider)
        _replace(runtime, client, _kept_key(client), readable)
        rows.rows(engine, "UPDATE job SET due_at = now() + interval '1 day'")
        on_loop(runtime, lambda: read_kept(runtime))
        drain(runtime, lambda: ends(client) == {"a": ("succeeded", None)})
        assert stored(runtime, client) == [png(7)]
        assert len(provider.posts) == 1


def _kept_key(client: Client) -> str:
    return str(submission(client)["kept_as"]).partition("://")[2].partition("/")[2]


def test_an_answer_that_an_earlier_version_kept_compressed_is_read(start: Callable[..., Any]) -> None:
    with answering(UNREADABLE, picture=png(7)) as provider, start(provider.url) as (runtime, client):
        enqueue(client, "getimg")
        drain(runtime, lambda: ends(client) == {"a": ("in_doubt", "answer_unreadable")})
        _replace(runtime, client, f"submissions/{submission(client)['id']}/answer", gzip.compress(_getimg(provider)))
        client.look_again(client.find_job("a"))
        drain(runtime, lambda: ends(client) == {"a": ("succeeded", None)})
        assert len(provider.posts) == 1


def test_an_answer_that_a_dying_worker_stored_and_could_not_name_is_named_by_the_next_look(
    start: Callable[..., Any], engine: Engine
) -> None:
    with answering(UNREADABLE, picture=png(7)) as provider, start(provider.url) as (runtime, client):
        enqueue(client, "getimg")
        drain(runtime, lambda: ends(client) == {"a": ("in_doubt", "answer_unreadable")})
        address = submission(client)["kept_as"]
        rows.rows(engine, "UPDATE submission SET kept_as = NULL, reply_sha256 = NULL, error_code = 'sender_lost'")
        client.look_again(client.find_job("a"))
        drain(runtime, lambda: submission(client)["kept_as"] == address)
        assert len(provider.posts) == 1


def _getimg(provider: Answering) -> bytes:
    return b'{"id": "x", "data": [{"url": "%s/picture"}], "usage": {"total_cost": 0.04}}' % provider.url.encode()


def _replace(runtime: Runtime, client: Client, key: str, body: bytes) -> None:
    class Held:
        length = len(body)
        sha256_base64 = base64.b64encode(hashlib.sha256(body).digest()).decode()

        def rewound(self) -> Any:
            return io.BytesIO(body)

    runtime.storage.put(key, Held(), content_type="application/json", metadata={})


@pytest.mark.parametrize("in_bucket", [True, False])
def test_a_kept_file_that_somebody_changed_is_not_used(
    in_bucket: bool,  # noqa: FBT001 - whether the bucket has the answer too
    start: Callable[..., Any],
    spool: Path,
) -> None:
    with answering(inline_answer(png(1))) as provider, start(provider.url, max_image_bytes=100) as (runtime, client):
        enqueue(client)
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("failed", "result_too_large")}
        submission_id = submission(client)["id"]
        (spool / "replies" / f"{submission_id}.reply").write_bytes(inline_answer(png(2)))
        if not in_bucket:
            runtime.storage.delete(key_of(submission_id))
    with answering(b"") as provider, start(provider.url) as (runtime, client), capture_logs() as logs:
        _again(client)
        end = ("succeeded", None) if in_bucket else ("transferring", "reply_damaged")
        drain(runtime, lambda: ends(client) == {"a": end})
        assert stored(runtime, client) == ([png(1)] if in_bucket else [])
        assert ("error", "reply_damaged") in {(line["log_level"], line.get("code")) for line in logs}
        assert provider.posts == []


def _again(client: Client) -> None:
    client.retry(client.plan_retry(batch="b"))
    assert ends(client)["a"][0] == "transferring"


def test_doctor_says_that_others_can_write_in_the_spool_and_how_much_room_there_is(
    settings: Settings, tmp_path: Path
) -> None:
    place = settings.model_copy(update={"spool_dir": tmp_path / "here"})
    assert _spool(place).ok
    (tmp_path / "here").mkdir(mode=0o700)
    assert "MiB free" in _spool(place).seen
    (tmp_path / "here").chmod(0o777)
    finding = _spool(place)
    assert (finding.ok, str(tmp_path / "here") in finding.seen) == (False, True)
