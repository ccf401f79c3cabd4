"""Runs the tests that failed last again, each three times with nothing beside it: `python -m tests.again`.

A test can fail because it shared two cores with others, and for no other reason. Three times alone tell that from a
defect. Such a test is still to be mended: its name is printed. Many of them at once are no accident, and are not tried.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

_FAILED: Final = Path(".pytest_cache/v/cache/lastfailed")
_TIMES: Final = 3
_MOST: Final = 2


def main() -> int:
    """Return 0 if the tests that failed, one or two, pass each time; print their names."""
    names = list(json.loads(_FAILED.read_text())) if _FAILED.exists() else []
    if not 0 < len(names) <= _MOST:
        return 1
    # Without its cache, pytest keeps the list of what failed beside others.
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *names]
    if any(subprocess.run(command, check=False).returncode for _ in range(_TIMES)):
        return 1
    sys.stdout.write(
        "\n  ".join([f"\nTO BE MENDED: failed beside other tests, and passed {_TIMES} times alone:", *names]) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
