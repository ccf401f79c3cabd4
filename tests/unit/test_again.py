"""What failed beside other tests is run again alone, and a defect is still a failure."""

import json
from pathlib import Path

import pytest

from tests import again


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_some.py").write_text("def test_fine(): pass\ndef test_wrong(): assert False\n")
    return tmp_path


def failed_last(folder: Path, *names: str) -> None:
    file = folder / ".pytest_cache/v/cache/lastfailed"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(dict.fromkeys((f"test_some.py::{name}" for name in names), True)))


def test_a_test_that_passes_three_times_alone_is_named_and_ends_no_run(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failed_last(folder, "test_fine")
    assert again.main() == 0
    said = capfd.readouterr().out
    assert said.count("1 passed") == 3
    assert "test_some.py::test_fine" in said.rpartition("TO BE MENDED")[2]


@pytest.mark.parametrize("names", [["test_wrong"], ["test_fine", "test_wrong"], ["test_gone"]])
def test_a_test_that_fails_alone_ends_the_run(folder: Path, names: list[str]) -> None:
    failed_last(folder, *names)
    assert again.main() == 1


@pytest.mark.parametrize("names", [[], ["test_fine", "test_fine[1]", "test_fine[2]"]])
def test_none_or_many_failed_tests_are_not_tried_again(
    folder: Path, names: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    failed_last(folder, *names)
    assert again.main() == 1
    assert "passed" not in capfd.readouterr().out


def test_a_run_that_left_no_list_of_failures_is_a_failure(folder: Path) -> None:
    assert again.main() == 1
    assert not list(folder.glob(".pytest_cache"))
