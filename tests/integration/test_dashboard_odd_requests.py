"""Odd requests to the dashboard: each is a page that says what is wrong, and none is a defect in the log."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from ops.cli.dashboard import served
from ops.dashboard.acts import ACTS
from producer import Client
from shared.db.engine import Engine
from shared.settings import load
from tests.support import held, rows
from tests.support.browsing import Browser, signed_in

NOBODY = "00000000-0000-0000-0000-000000000000"
ROWS = "custom_id,provider,prompt\na,bloom,x\n"
GOOD = {"account": "bloom", "batch": "b", "provider": "bloom", "policy": "hold", "how": "fail", "amount": "1"}


@pytest.fixture
def browser(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Browser]:
    held.held(engine)
    with signed_in(engine, tmp_path, settings=load(database_url=database_url)) as opened:
        yield opened


@pytest.mark.parametrize("what", sorted(ACTS))
def test_an_act_whose_fields_make_no_sense_is_a_page_that_says_so(browser: Browser, what: str) -> None:
    for field in ("job", "batch", "account", "code", "provider", "reason", "policy", "amount", "charged", "picture"):
        for text in ("a\0b", "\0", "9" * 5000, "\ud7ff\uffff", "x" * 5000):
            wish = {**GOOD, "what": what, field: text}
            for answer in (browser.get("/act", **wish), browser.post("/act", None, **wish, sure="yes")):
                assert answer.status_code < 500, (field, text[:10])
                assert answer.status_code == 400 or "\0" not in text, (field, text[:10])


@pytest.mark.parametrize("what", sorted(ACTS))
def test_an_act_on_what_is_not_there_is_a_page_that_says_so(browser: Browser, what: str) -> None:
    for fields in ({"job": NOBODY}, {"batch": "nobody"}, {"account": "nobody"}, {"provider": "nobody"}, {}):
        wish = {"what": what, "how": "fail", "policy": "hold", "amount": "1", **fields}
        for answer in (browser.get("/act", **wish), browser.post("/act", None, **wish, sure="yes")):
            assert answer.status_code < 500, fields


def test_a_look_at_a_job_that_is_not_there_says_so(browser: Browser) -> None:
    answer = browser.post("/act", what="look-again", job=NOBODY)
    assert (answer.status_code, f"there is no job {NOBODY}" in answer.text) == (400, True)


@pytest.mark.parametrize("name", ["batch", "provider", "model", "caps", "on_unknown", "prompt", "columns"])
def test_odd_terms_of_a_new_batch_are_named(browser: Browser, client: Client, name: str) -> None:
    for text in ("a\0b", "zz", "9" * 5000):
        given = {"batch": "new", "format": "csv", "text": ROWS, name: text}
        answer = browser.post("/new", None, **given)
        assert answer.status_code in {303, 400}
        if answer.status_code == 303:
            assert "\0" not in text
            assert browser.get(answer.headers["location"]).status_code == 200
            if name not in {"batch", "model"}:
                assert browser.post(answer.headers["location"], how="all").status_code in {303, 409}
    named = browser.post("/new", batch="new", format="csv", text=ROWS, on_unknown="zz")
    assert "lost calls are hold or resend" in named.text


@pytest.mark.parametrize("path", ["/", "/batches", "/batch", "/find", "/failures", "/webhooks", "/batch.csv", "/live"])
def test_a_page_that_is_asked_oddly_is_no_defect(browser: Browser, path: str) -> None:
    for text in ("a\0b", "9" * 5000, f"x {NOBODY}", "24:00 x", "%", "\uffff"):
        query = dict.fromkeys(("name", "job", "after", "state", "code", "q", "endpoint", "page"), text)
        assert browser.get(path, **query).status_code < 500, text[:10]
        assert browser.get(path, **{**query, "name": "b", "page": "batch", "once": "1"}).status_code < 500, text[:10]


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", ""])
def test_a_form_whose_origin_cannot_be_read_comes_from_another_site(browser: Browser, origin: str) -> None:
    assert browser.post("/sign-in", {"Origin": origin}, token="x").status_code == 403


def test_a_model_that_a_spreadsheet_would_run_is_text_in_the_csv(browser: Browser, engine: Engine) -> None:
    rows.rows(engine, """UPDATE job SET request = request || '{"model": "=1+1"}' RETURNING id""")  # a wrong row by SQL
    assert ",'=1+1," in browser.get("/batch.csv", name="b").text


def test_a_head_beyond_the_bound_is_refused_before_anybody_has_signed_in(browser: Browser) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(served(browser.client.app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with socket.create_connection(listening.getsockname(), timeout=10) as connection:
            connection.sendall(b"GET /sign-in HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000)
            assert connection.recv(100).startswith(b"HTTP/1.1 431 ")
    finally:
        server.should_exit = True
        thread.join()
