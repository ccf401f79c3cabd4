"""The page of log events names every event that the code writes, with its level, and no other."""

from pathlib import Path

from ops.dev.log_events import PAGE, differences, written

TABLE = "| `one` | info | x | y |\n| `two`, `four` | warning | x | y |\n| `three` | error | x | y |\n"
CODE = '_log.warning("one" if True else "two")\n_log.info(name)\n_log.exception("three")\n'


def test_every_event_stands_on_the_page_with_its_level_and_no_other(repository: Path) -> None:
    assert len(written(repository)) > 60
    assert list(differences(repository)) == []


def test_what_the_page_lacks_has_too_many_of_or_has_at_another_level_is_told(tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "worker" / "a.py").write_text(CODE)
    (tmp_path / PAGE).write_text(
        "| `one` | info | x | y |\n| `two`, `four` | warning | x | y |\n| `three` | error | x | y |\n"
    )
    assert list(differences(tmp_path)) == [
        f"{PAGE}: `four` is none in the code and warning on the page",
        f"{PAGE}: `name` is info in the code and none on the page",
        f"{PAGE}: `one` is warning in the code and info on the page",
    ]
