"""The table of mutants fits the code: a removal whose text is gone would prove nothing. `make mutants` runs them."""

import ast
import re
from pathlib import Path

import pytest

from tests.mutation.mutant import Mutant, StaleMutantError
from tests.mutation.table import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.removed)
def test_the_text_to_be_replaced_stands_in_its_file_once_and_python_still_reads_it(
    mutant: Mutant, repository: Path
) -> None:
    changed = mutant.applied(repository)
    assert changed != (repository / mutant.file).read_text()
    ast.parse(changed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.removed)
def test_the_tests_that_should_notice_are_named_and_exist(mutant: Mutant, repository: Path) -> None:
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert (repository / file).is_file()
        assert re.search(rf"^def {name}\(", (repository / file).read_text(), re.MULTILINE)


def test_no_removal_is_listed_twice() -> None:
    assert len({mutant.removed for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


def test_a_removal_whose_text_is_gone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    gone = Mutant(removed="y", protects="z", file="a.py", old="y = 1", new="", tests=())
    with pytest.raises(StaleMutantError, match="0 times"):
        gone.applied(tmp_path)
