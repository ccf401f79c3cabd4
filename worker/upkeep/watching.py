"""Watches the whole queue and tells what is wrong with it: in the log, and to a command of the operator's.

One worker at a time tells it: the living one whose name comes first. Each worker tells that its own database is away.
"""

import os
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import anyio
import structlog

from shared.alerts import Alert, Alerts
from shared.db import workers
from shared.db.engine import Connection, DatabaseUnavailableError
from shared.db.read.status import QueueStatus, status
from shared.log import redact
from shared.problems import Problem, problems
from worker.evidence.replies import LEAST_ROOM_BYTES
from worker.runtime import Runtime
from worker.troubles import CLOCK, DISK

_log = structlog.get_logger(__name__)
EVERY_SECONDS: Final = 15.0
_COMMAND_SECONDS: Final = 30.0
_INPUT_BYTES: Final = 16 * 1024  # every pipe takes them at once
_ROOM_BYTES: Final = 4 * LEAST_ROOM_BYTES
_SKEW_SECONDS: Final = 5.0
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER")
"""Variables of the worker that the command also gets; never a key or a password."""


class Watch:
    """What this worker has told: of the whole queue, while it is the one that tells, and of its own database."""

    def __init__(self) -> None:
        self.queue = Alerts()
        self.own = Alerts()


async def watch(runtime: Runtime) -> None:
    """Look every few seconds, until cancelled."""
    known = Watch()
    while True:
        try:
            await look(runtime, known)
        except Exception as error:  # noqa: BLE001 - the next look comes; the work must go on
            _log.warning("watching_failed", error=type(error).__name__)
        await anyio.sleep(EVERY_SECONDS)


async def look(runtime: Runtime, known: Watch) -> None:
    """Look once, and tell what is new."""
    away, state, now = await _away(runtime), None, time.monotonic()
    if not away:
        await runtime.in_thread(_look_at_disk, runtime)
        state = await _look_at_queue(runtime)
    if state is None:
        known.queue = Alerts()
    news = [*known.own.next(away, now), *known.queue.next(problems(state) if state else [], now)]
    for alert in news:
        _tell(alert)
        await _run(runtime, alert)


async def _away(runtime: Runtime) -> list[Problem]:
    """Return the problem that this worker cannot reach its database; empty if it can."""
    try:
        await runtime.in_transaction(lambda connection: connection.exec_driver_sql("SELECT 1"))
    except DatabaseUnavailableError as error:
        words = f"worker {runtime.sender.name} cannot reach the database: {redact(str(error))}"
        return [Problem("database_away", runtime.sender.name, words, "genqueue doctor")]
    return []


async def _look_at_queue(runtime: Runtime) -> QueueStatus | None:
    """Return the queue's state; None if another worker tells it."""
    before = time.time()
    state = await runtime.in_transaction(partial(_state, me=runtime.sender.name))
    if state is not None:
        _look_at_clock(runtime, state.at.timestamp() - (before + time.time()) / 2)
    return state


def _state(connection: Connection, *, me: str) -> QueueStatus | None:
    ticking = [
        str(row["name"])
        for row in workers.listing(connection)
        if float(str(row["tick_age_seconds"])) < workers.ALIVE_SECONDS
    ]
    return status(connection) if me == min(ticking, default=me) else None


def _look_at_disk(runtime: Runtime) -> None:
    """Note that the spool's disk is nearly full, before a call has to wait for it."""
    try:
        free = shutil.disk_usage(runtime.spool_dir).free
    except OSError as error:
        runtime.troubles.note(DISK, f"{runtime.spool_dir}: {error.strerror}")
        return
    if free < _ROOM_BYTES:
        runtime.troubles.note(DISK, f"{free >> 20} MiB free in {runtime.spool_dir}")
    else:
        runtime.troubles.over(DISK)


def _look_at_clock(runtime: Runtime, skew: float) -> None:
    if abs(skew) > _SKEW_SECONDS:
        runtime.troubles.note(CLOCK, f"the database's clock is {skew:+.1f} s from this worker's")
    else:
        runtime.troubles.over(CLOCK)


def _tell(alert: Alert) -> None:
    problem = alert.problem
    about = {"kind": problem.code, "subject": problem.subject or None, "said": problem.words}
    if alert.state == "over":
        _log.info("problem_over", **about)
    else:
        _log.warning("problem", state=alert.state, you_can=problem.then or None, **about)


async def _run(runtime: Runtime, alert: Alert) -> None:
    """Run the operator's command with the alert as text on its input; whatever it does, the work goes on."""
    command = shlex.split(runtime.settings.alert_command)
    if not command:
        return
    try:
        with anyio.fail_after(_COMMAND_SECONDS), _as_input(_text(alert).encode()) as text:
            done = await anyio.run_process(command, stdin=text, env=_variables(alert), check=False)
    except (OSError, TimeoutError) as error:
        _log.warning("alert_not_sent", kind=alert.problem.code, error=type(error).__name__)
        return
    if done.returncode:
        said = redact(done.stderr.decode("utf-8", "replace").strip()[-200:])
        _log.warning("alert_not_sent", kind=alert.problem.code, status=done.returncode, said=said)


@contextmanager
def _as_input(text: bytes) -> Iterator[int]:
    """Yield a pipe that holds the text already: a command that does not read it fails nothing."""
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, text[:_INPUT_BYTES])
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def _text(alert: Alert) -> str:
    problem = alert.problem
    head = "over: " if alert.state == "over" else "still: " if alert.state == "lasts" else ""
    since = f"\nsince {problem.since:%Y-%m-%d %H:%M} UTC" if problem.since else ""
    do = f"\n{problem.then}" if problem.then and alert.state != "over" else ""
    return f"genqueue: {head}{problem.words}{since}{do}\n"


def _variables(alert: Alert) -> dict[str, str]:
    own = {
        "GENQUEUE_ALERT_STATE": alert.state,
        "GENQUEUE_ALERT_KIND": alert.problem.code,
        "GENQUEUE_ALERT_SUBJECT": alert.problem.subject,
    }
    return {**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **own}
