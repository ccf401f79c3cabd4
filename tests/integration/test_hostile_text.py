"""Names, links and errors that command a terminal, Rich or a spreadsheet, through every command that shows them."""

import csv
import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ops.stack import Endpoints
from producer import Client
from producer.cli.results import _write_csv, _write_jsonl
from shared.db import accounts, workers
from shared.db.engine import transaction
from tests.support import rows
from tests.support.command import Ran, genqueue
from worker.runtime import Runtime

Run = Callable[..., Ran]
NASTY = "[/ [bold] \x1b]0;owned\x07 \u202etxt.exe \x9b2J \\"
BATCH = f"-[/b]{NASTY}"
COMMANDING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(database_url: str, endpoints: Endpoints, tmp_path: Path) -> Run:
    environment = {
        **endpoints.environment(),
        "GENQUEUE_DATABASE_URL": database_url,
        "GENQUEUE_HOME": str(tmp_path / "home"),
    }
    return lambda *arguments: genqueue(*arguments, env=environment, cwd=tmp_path)


@pytest.fixture
def job(runtime: Runtime) -> UUID:
    """A queued job of a paused account; every text about both is hostile, as an older version may have left it."""
    rows.add(runtime.engine, [rows.new_job("[/c]\x1b[2J", prompt="p [/b] x")], batch=BATCH)
    with transaction(runtime.engine) as connection:
        # Without a worker, that is why the job waits.
        workers.heartbeat(connection, name="w", lock_key=1, slots=4, stuck_seconds=0)
        accounts.mark_served(connection, ["bloom"])
        connection.execute(
            text("UPDATE account SET paused_at = now(), paused_code = 'paused_by_hand', paused_reason = :nasty, "
                 "action_url = :link, notes = :nasty WHERE name = 'bloom'"),
            {"nasty": NASTY, "link": "https://pay.example/[/\x1b[2J"},
        )  # fmt: skip
        return connection.execute(
            text("UPDATE job SET error_code = 'provider_error', error = :nasty RETURNING id"), {"nasty": f"={NASTY}"}
        ).scalar_one()


def test_every_command_that_shows_a_job_says_hostile_text_and_obeys_none_of_it(run: Run, job: UUID) -> None:
    commands = [
        ("explain", str(job)), ("jobs", "--", BATCH), ("batches",), ("bill",), ("unowned",), ("audit",),
        ("policy", "--", BATCH),
        ("cancel", "--batch", BATCH, "--dry-run"), ("doctor", "--no-settings"), ("prune", "--dry-run"),
        ("resume", "[/b]\x1b"), ("explain", "[/b]\x1b[2J"), ("results", "--", BATCH), ("jobs", "--", f"{BATCH}x"),
    ]  # fmt: skip
    for command in commands:
        ran = run(*command)
        assert "Traceback" not in ran.err, ran.err
        assert ran.code in (0, 1, 2), command
        assert not COMMANDING.search(ran.out + ran.err) or command[0] == "results", (command, ran)
    told = run("explain", str(job)).out
    assert "[/ [bold] \\x1b]0;owned\\x07 \\u202etxt.exe" in told
    assert "https://pay.example/[/\\x1b[2J" in told


def test_results_that_go_to_a_terminal_are_written_out_and_a_file_has_them_as_they_are(
    job: UUID, client: Client, run: Run, tmp_path: Path
) -> None:
    assert run("results", "-o", "r.csv", "--bom", "--", BATCH).code == 0
    content = (tmp_path / "r.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfcustom_id,")
    (row,) = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert row["error"] == f"'={NASTY}"
    assert (row["custom_id"], row["job_id"]) == ("[/c]\x1b[2J", str(job))
    assert run("results", "--bom", "--", BATCH).code == 2
    writers: tuple[Callable[[Any, Any], None], ...] = (partial(_write_csv, keys=[NASTY]), _write_jsonl)
    for write in writers:
        terminal = _Terminal(newline="")
        write(client.results(BATCH), terminal)
        assert "owned" in terminal.getvalue()
        assert not COMMANDING.search(terminal.getvalue().replace("\r\n", "\n"))
