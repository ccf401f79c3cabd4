"""The version of the code that runs: of the tree that it is imported from, else of the package that is installed."""

import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"


def own_version() -> str:
    """Return the version, such as 0.2.0; an image holds the project's file, and no package of ours."""
    if _PROJECT.exists():
        return str(tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["version"])
    return version("genqueue")
