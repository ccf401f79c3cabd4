"""Large prompt files sent to the HTTP API: each is checked in a process of its own."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Final

import psutil
from httpx import Client as Http
from httpx import Response
from sqlalchemy import text

from producer import Client
from shared.db.engine import Engine
from tests.support.api import bearer, serving
from tests.support.waiting import until

_LINES: Final = {"content-type": "application/x-ndjson"}
_ROWS: Final = 400
_LARGE: Final = "/v1/batches/large/rows"


def lines(**more: Any) -> bytes:
    """Return a file that is large enough for a process of its own; `more` stands in each row."""
    row = {"provider": "bloom", "prompt": "a" * 900, **more}
    return b"".join(json.dumps({**row, "custom_id": f"{number}"}).encode() + b"\n" for number in range(_ROWS))


def code(answer: Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["code"])


def test_a_large_file_is_added_once_however_often_it_is_sent(http: Http, alice: Client) -> None:
    first, again = (http.post(_LARGE, content=lines(), headers=_LINES) for _ in range(2))
    assert (first.status_code, first.json()["added"]) == (201, _ROWS)
    assert (again.status_code, again.json()["added"]) == (200, 0)
    assert alice.totals("large") == {"queued": _ROWS}


def test_a_large_file_is_planned_and_nothing_is_added(http: Http, alice: Client) -> None:
    told = http.post(f"{_LARGE}?dry_run=true", content=lines(), headers=_LINES)
    assert told.status_code == 200
    assert told.json()["rows"] == _ROWS
    assert alice.batches() == []


def test_what_is_wrong_with_a_large_file_is_named_by_line(http: Http) -> None:
    refused = http.post(_LARGE, content=lines() + b'{"prompt": ""}\n', headers=_LINES)
    assert code(refused, 422) == "rows_invalid"
    assert {fault["line"] for fault in refused.json()["errors"]} == {_ROWS + 1}


def test_a_large_file_that_contradicts_the_batch_is_refused_with_its_ids(http: Http) -> None:
    http.post(_LARGE, content=lines(), headers=_LINES)
    refused = http.post(_LARGE, content=lines(n=2), headers=_LINES)
    assert code(refused, 422) == "custom_id_conflict"
    assert "0" in refused.json()["custom_ids"]


def test_a_large_file_beyond_a_tokens_cap_adds_nothing(alice: Client) -> None:
    with serving(alice) as http:
        http.headers.update(bearer(alice, caps={"bloom": Decimal(4)}))
        assert code(http.post(_LARGE, content=lines(), headers=_LINES), 402) == "token_cap_reached"
    assert alice.batches() == []


def test_a_large_file_whose_check_is_killed_adds_nothing_and_may_be_sent_again(
    http: Http, alice: Client, engine: Engine
) -> None:
    before = children()
    with ThreadPoolExecutor(1) as pool:
        with engine.connect() as connection:
            connection.execute(text("LOCK TABLE job IN ACCESS EXCLUSIVE MODE"))
            sent = pool.submit(http.post, _LARGE, content=lines(), headers=_LINES)
            until(lambda: waits_for_a_lock(engine), seconds=60)
            (check,) = children() - before
            os.kill(check, signal.SIGKILL)
        answer = sent.result()
    assert code(answer, 503) == "upload_interrupted"
    assert alice.batches() == []
    assert http.post(_LARGE, content=lines(), headers=_LINES).json()["added"] == _ROWS


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def waits_for_a_lock(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


def test_a_large_file_with_columns_under_other_names_is_added(http: Http, alice: Client) -> None:
    sent = http.post(f"{_LARGE}?column=n=Anzahl", content=lines(Anzahl=2), headers=_LINES)
    assert (sent.status_code, sent.json()["added"]) == (201, _ROWS)
    assert alice.totals("large") == {"queued": _ROWS}


def test_columns_under_other_names_are_explained_and_must_be_ours(http: Http, alice: Client) -> None:
    german, text_csv = "custom_id,prompt,provider,aspectratio\na,ein Hafen,bloom,16:9\n", {"content-type": "text/csv"}
    place = "/v1/batches/german/rows"
    refused = http.post(place, content=german, headers=text_csv)
    assert code(refused, 422) == "rows_invalid"
    assert "?column=aspect_ratio=aspectratio in the address" in refused.text
    assert code(http.post(f"{place}?column=ratio=aspectratio", content=german, headers=text_csv), 422) == (
        "request_invalid"
    )
    assert http.post(f"{place}?column=aspect_ratio=aspectratio", content=german, headers=text_csv).status_code == 201
    assert alice.totals("german") == {"queued": 1}
