"""Every command explains itself: a sentence, an example, and help that fits a narrow terminal."""

from typing import cast

import pytest

from ops.cli import _COMMANDS, main
from producer import Client
from producer.cli.watch import follow
from tests.support.command import genqueue


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_commands_help_has_an_example_and_fits_80_columns(name: str) -> None:
    ran = genqueue(name, "--help", env={})
    assert ran.code == 0
    assert "Example" in ran.out
    assert f"genqueue {name}" in ran.out.split("Example", 1)[1]
    assert max(map(len, ran.out.splitlines())) <= 80


def test_the_help_lists_every_command_and_fits_80_columns() -> None:
    ran = genqueue("--help", env={})
    assert all(f" {name} " in ran.out for name in _COMMANDS)
    assert max(map(len, ran.out.splitlines())) <= 80


def test_the_shell_completes_commands() -> None:
    ran = genqueue(env={"_GENQUEUE_COMPLETE": "complete_bash", "COMP_WORDS": "genqueue re", "COMP_CWORD": "1"})
    assert {"results", "retry", "resolve", "resume"} <= set(ran.out.split())
    assert callable(main)


def test_whoever_stops_waiting_is_not_told_that_all_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def totals(self, _batch: str) -> dict[str, int]:
            raise KeyboardInterrupt

    assert follow(cast("Client", Interrupted()), "my batch", as_json=True) == 130
    assert "genqueue watch 'my batch'" in capsys.readouterr().err
