"""`python -m tests.mutation`: a table of what was removed and which test noticed; 1 if a removal survived."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutation.mutant import Mutant, StaleMutantError
from tests.mutation.running import ROOT, Verdict, a_copy, run, without
from tests.mutation.table import MUTANTS

_PAGE = ROOT / "docs" / "mutations.md"
_INTRODUCTION = """# What the tests would notice

`make mutants` takes one safeguard at a time out of a copy of the code and runs the tests that should notice. A removal
that survives is an error, and so is one whose text is no longer in the code. `python -m tests.mutation --write` writes
this page.

"""
_HEADER = "| removed | what it protects | caught by | seconds |\n|---|---|---|---|\n"


def main() -> int:
    """Run the mutants asked for and print their table."""
    asked = _arguments()
    wanted = [mutant for mutant in MUTANTS if not asked.only or any(words in mutant.removed for words in asked.only)]
    with a_copy() as copy:
        try:
            for mutant in wanted:
                mutant.applied(copy)
        except StaleMutantError as error:
            return _complain(str(error))
        _say(f"{len(wanted)} mutants; first their tests without any")
        base = run(copy, sorted({test for mutant in wanted for test in mutant.tests}))
        if base.failed or base.trouble:
            return _complain(f"not green before any removal: {', '.join(base.failed)} {base.trouble}")
        verdicts = [_one(mutant, copy) for mutant in wanted]
    table = _HEADER + "".join(_line(mutant, verdict) for mutant, verdict in zip(wanted, verdicts, strict=True))
    sys.stdout.write(table)
    survivors = [mutant.removed for mutant, verdict in zip(wanted, verdicts, strict=True) if not verdict.failed]
    if survivors:
        return _complain(f"survived: {'; '.join(survivors)}")
    if asked.write:
        _PAGE.write_text(_INTRODUCTION + table, encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--only", metavar="WORDS", action="append", help="only removals whose name contains this")
    parser.add_argument("--write", action="store_true", help="write the table into docs/mutations.md")
    asked = parser.parse_args()
    if asked.only and asked.write:
        parser.error("--write needs the whole table")
    return asked


def _one(mutant: Mutant, copy: Path) -> Verdict:
    verdict = without(mutant, copy)
    found = ", ".join(verdict.failed) or verdict.trouble or "SURVIVED"
    _say(f"{verdict.seconds:5.1f} s  {mutant.removed}: {found}")
    return verdict


def _line(mutant: Mutant, verdict: Verdict) -> str:
    caught = "<br>".join(_named(verdict.failed)) or "**nothing**"
    return f"| {mutant.removed} | {mutant.protects} | {caught} | {verdict.seconds:.0f} |\n"


def _named(tests: Sequence[str]) -> Iterator[str]:
    for test in tests:
        file, _, name = test.partition("[")[0].partition("::")
        yield f"{name.removeprefix('test_').replace('_', ' ')} (`{Path(file).stem}`)"


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")


def _complain(words: str) -> int:
    _say(words)
    return 1


if __name__ == "__main__":
    sys.exit(main())
