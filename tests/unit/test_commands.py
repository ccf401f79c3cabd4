"""Every command explains itself: a sentence, an example, and help that fits a narrow terminal."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from ops.cli import _COMMANDS, main, overview
from producer import Client
from producer.cli.watch import follow
from tests.support.command import genqueue

_OFTEN = ("status", "watch", "jobs", "batches", "bill", "explain", "enqueue", "plan", "results")
_SERVERS = {"aiohttp", "alembic", "boto3", "botocore", "celery", "httpx", "kombu", "redis", "sqlmodel", "structlog"}
_MOST_MODULES = 760
"""What a command imports, the standard library with it. A rise is a decision: each costs some 0.5 ms of CPU."""


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_commands_help_has_an_example_and_fits_80_columns(name: str) -> None:
    ran = genqueue(name, "--help", env={})
    assert ran.code == 0
    assert "Example" in ran.out
    assert f"genqueue {name}" in ran.out.split("Example", 1)[1]
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_commands_help_breaks_no_word_at_80_columns(name: str) -> None:
    wide = _words(genqueue(name, "--help", env={"COLUMNS": "400"}).out)
    assert _words(genqueue(name, "--help", env={}).out) <= wide


def _words(text: str) -> set[str]:
    """Return what stands between blanks and the lines of boxes."""
    return set(text.translate(dict.fromkeys(map(ord, "│─╭╮╰╯"), " ")).split())


def test_the_help_lists_every_command_and_fits_80_columns() -> None:
    ran = genqueue("--help", env={})
    assert all(f" {name} " in ran.out for name in _COMMANDS)
    assert all(overview.summary(module, name)[0].isupper() for name, module in _COMMANDS.items())
    assert set(overview.GROUPS) <= set(overview.grouped(_COMMANDS))
    assert max(map(len, ran.out.splitlines())) <= 80


def test_help_and_version_import_no_database_and_no_command() -> None:
    code = (
        "import sys; sys.argv = ['genqueue', sys.argv[1]]\nfrom ops.cli import main\ntry: main()\n"
        "except SystemExit: print([n for n in ('sqlalchemy', 'pydantic', 'producer') if n in sys.modules])"
    )
    for asked in ("--help", "--version"):
        ran = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", _OFTEN)
def test_a_command_that_people_run_often_imports_no_servers_libraries(name: str) -> None:
    code = (
        "import sys\nfrom ops.cli import _COMMANDS\n"
        f"__import__('ops.cli.join'); __import__(_COMMANDS[{name!r}])\n"
        "packages = {one.partition('.')[0] for one in sys.modules}\n"
        "print(*packages, len(sys.modules), 'sqlalchemy.orm' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *packages, modules, orm = ran.stdout.split()
    assert orm == "False"
    assert not _SERVERS & set(packages)
    assert int(modules) <= _MOST_MODULES


def test_a_worker_imports_neither_the_tables_as_classes_nor_the_migrations() -> None:
    code = "import sys, ops.cli.worker\nprint({'sqlmodel', 'sqlalchemy.orm', 'alembic'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.parametrize(("typed", "meant"), [("enquee", "enqueue"), ("batch", "batches"), ("statsu", "status")])
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    ran = genqueue(typed, env={})
    assert ran.code == 2
    assert f"Did you mean {meant}" in ran.err


@pytest.mark.parametrize("name", ["cancel", "erase"])
def test_a_command_that_pays_nothing_does_not_say_that_it_may_pay_twice(name: str) -> None:
    told = " ".join(genqueue(name, "--help", env={}).out.split())
    assert "do not ask" in told
    assert "pay twice" not in told


@pytest.mark.parametrize("name", ["token", "webhook"])
def test_no_summary_in_the_list_of_a_groups_commands_is_cut(name: str) -> None:
    listed = genqueue(name, "--help", env={"COLUMNS": "80"}).out.split("Commands:")[1]
    assert "..." not in listed


def test_an_old_name_of_a_command_is_not_suggested() -> None:
    ran = genqueue("staus", env={})
    assert "Did you mean status" in ran.err
    assert "strays" not in ran.err


def test_an_ascii_terminal_a_full_disk_and_a_closed_pipe_bring_no_traceback() -> None:
    providers = [sys.executable, "-m", "ops.cli", "providers"]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "TERM": "dumb", "NO_COLOR": "1"}
    ran = subprocess.run(providers, env=ascii_only, capture_output=True, check=True)
    assert b"\x1b" not in ran.stdout
    ran.stdout.decode("ascii")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(providers, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr.decode().strip()) == (1, "error: standard output: No space left on device")
    closed = subprocess.run(f"{shlex.join(providers)} | true", shell=True, capture_output=True, check=False)  # noqa: S602
    assert closed.stderr == b""


def test_the_shell_completes_commands() -> None:
    ran = genqueue(env={"_GENQUEUE_COMPLETE": "complete_bash", "COMP_WORDS": "genqueue re", "COMP_CWORD": "1"})
    assert {"results", "retry", "resolve", "resume"} <= set(ran.out.split())
    assert callable(main)


def test_whoever_stops_waiting_is_not_told_that_all_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def settling(self, _batch: str) -> dict[str, int]:
            raise KeyboardInterrupt

    assert follow(cast("Client", Interrupted()), "my batch", as_json=True) == 130
    assert "genqueue watch 'my batch'" in capsys.readouterr().err
