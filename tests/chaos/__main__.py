"""`python -m tests.chaos --jobs 500 --crashes 30 --seed 7`: one seeded run, its figures and its verdict."""

import argparse
import os
import secrets
import sys
import time
from pathlib import Path

from tests.chaos import figures
from tests.chaos.ground import open_ground
from tests.chaos.run import carry_out


def main() -> int:
    """Run, print, and return 0 where all went as it must."""
    options = _parser().parse_args()
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    for name in [name for name in os.environ if name.startswith(("GENQUEUE_", "AWS_"))]:
        del os.environ[name]
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {line}\n")

    say(f"seed {seed}")
    with open_ground(seed, keep=options.keep) as site:
        run = carry_out(site, seed=seed, jobs=options.jobs, crashes=options.crashes, say=say)
        report = figures.report(run)
    sys.stdout.write(report)
    if options.output:
        options.output.write_text(report)
    if run.faults:
        sys.stdout.write("\n".join(["what was done:", *map(str, run.actions), "", "what is wrong:", *run.faults, ""]))
        sys.stdout.write(f"replay: {run.command}\n")
    return 1 if run.faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--crashes", type=int, default=30, help="deaths of workers, by a signal or in a named gap")
    parser.add_argument(
        "--seed", type=int, help="draws everything; the same seed is the same plan (default: a new one)"
    )
    parser.add_argument("--output", type=Path, help="write the figures here as well")
    parser.add_argument("--keep", action="store_true", help="leave logs and data where they are")
    return parser


if __name__ == "__main__":
    sys.exit(main())
