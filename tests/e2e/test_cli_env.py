"""A program of one's own joins the running stack with what `genqueue env` prints."""

from pathlib import Path

from ops.stack import Home, Stack
from tests.support.command import genqueue


def test_the_variables_of_a_running_stack_are_printed_and_none_where_nothing_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    idle = genqueue("env", env={"GENQUEUE_HOME": str(home)})
    assert (idle.code, idle.out, len(idle.error_lines)) == (1, "", 1)
    with Stack(Home(home)) as stack:
        ran = genqueue("env", env={"GENQUEUE_HOME": str(home)})
    assert ran.code == 0
    assert f"export GENQUEUE_DATABASE_URL={stack.endpoints.database_url}" in ran.out.replace("'", "")
