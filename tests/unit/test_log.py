"""Logs: what must not appear in them, whoever writes the line and in whichever style."""

import json
import logging
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from shared import log

SECRET = "planted-secret"
SIGNED = "https://api.example/v2/downloads/req-1/0?exp=1790000000&sig=5ignature"
STYLES = pytest.mark.parametrize("style", ["json", "text"])


def fail(key: str) -> None:
    headers = {"x-api-key": key}
    raise ValueError(f"{len(headers)} header(s) for {SIGNED}")


@STYLES
def test_a_secret_in_its_wrapper_is_shown_as_stars(style: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", style)
    structlog.get_logger("a").info("started", key=SecretStr(SECRET), nested={"key": SecretStr(SECRET)})
    written = capsys.readouterr().err
    assert "started" in written
    assert "**********" in written
    assert SECRET not in written


@STYLES
def test_a_traceback_shows_where_and_neither_local_variables_nor_signatures(
    style: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("info", style)
    try:
        fail(SECRET)
    except ValueError:
        structlog.get_logger("a").exception("wire_defect")
        logging.getLogger("library").exception("theirs")
    written = capsys.readouterr().err
    assert written.count("ValueError") >= 2
    assert "in fail" in written or '"name": "fail"' in written
    assert SECRET not in written
    assert "5ignature" not in written


@STYLES
@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("library", ["httpx", "httpcore.http11", "botocore.endpoint", "urllib3.connectionpool", "x"])
def test_no_library_line_holds_a_signature_or_a_password(
    style: Any, level: str, library: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(level, style)
    logger = logging.getLogger(library)
    for write in (logger.debug, logger.info, logger.warning):
        write('HTTP Request: GET %s "HTTP/1.1 200 OK"', SIGNED)
        write("Retrying after %r: /bucket/key?X-Amz-Signature=5ignature", ConnectionError())
        write("connected to redis://user:pa55word@host:6379/0 and postgresql://:pa55word@host/db")
    written = capsys.readouterr().err
    assert "/bucket/key?***" in written
    assert "host:6379" in written
    assert "5ignature" not in written
    assert "pa55word" not in written


@pytest.mark.parametrize("library", log._CHATTY)
def test_chatty_libraries_are_heard_from_a_warning_on(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "json")
    logging.getLogger(library).info("quiet")
    logging.getLogger(library).warning("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]


def test_json_is_one_object_a_line_with_time_level_logger_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "auto")  # standard error is no terminal here
    structlog.get_logger("worker.submit").info("accepted", images=2, note="why? because=so")
    structlog.get_logger("worker.submit").debug("hidden")
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["logger"], entry["images"]) == (
        "accepted",
        "info",
        "worker.submit",
        2,
    )
    assert "timestamp" in entry


def test_a_warning_of_one_cause_is_told_five_times_a_minute_and_an_error_always() -> None:
    now = [0.0]
    spare = log.Sparing(lambda: now[0])

    def told(level: str, **event: Any) -> dict[str, Any] | None:
        try:
            return dict(spare(None, level, {"event": "bucket_refuses", **event}))
        except structlog.DropEvent:
            return None

    assert [told("warning", code="a", job=number) is not None for number in range(8)] == [True] * 5 + [False] * 3
    assert told("warning", code="b") is not None, "another cause"
    assert all(told("error", code="a") for _ in range(9))
    now[0] = 61.0
    assert told("warning", code="a") == {"event": "bucket_refuses", "code": "a", "unsaid": 3}
    assert told("warning", code="a") == {"event": "bucket_refuses", "code": "a"}


def test_a_logger_that_has_written_follows_the_next_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    logger = structlog.get_logger("a")
    logger.info("first")
    log.configure("info", "text")
    logger.info("second")
    with structlog.testing.capture_logs() as logs:
        logger.info("third")
    first, second = capsys.readouterr().err.splitlines()
    assert json.loads(first)["event"] == "first"
    assert not second.startswith("{")
    assert [line["event"] for line in logs] == ["third"]
