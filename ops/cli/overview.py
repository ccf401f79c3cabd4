"""What `genqueue --help` shows: the commands by what a person wants, without importing a single one."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Start": ("demo", "init", "up", "doctor", "env"),
    "Send": ("plan", "enqueue", "providers"),
    "Watch": ("status", "watch", "batches", "jobs", "explain", "images", "gallery", "results", "download", "bill"),
    "Decide": (
        "retry", "resolve", "accept", "look-again", "cancel", "hold", "release", "priority", "deadline", "cap",
        "policy",
    ),
    "Operate": (
        "pause", "resume", "audit", "unowned", "restored", "token", "webhook", "prune", "erase", "bucket", "migrate",
        "health",
    ),
    "Serve": ("worker", "api", "celery-door", "dashboard", "metrics", "flower", "simulator"),
}  # fmt: skip
"""Title -> commands. A command that stands nowhere here is listed last."""
_OTHERS: Final = "More"
_NAME_CELLS: Final = 12
_ROOT: Final = Path(__file__).parents[2]
_SENTENCE: Final = re.compile(r"(.+?)[.:;](?: |$)", re.DOTALL)


def grouped(offered: Iterable[str]) -> dict[str, list[str]]:
    """Return the commands that are offered by their group's title, empty groups left out."""
    left = list(offered)
    found = {title: [name for name in names if name in left] for title, names in GROUPS.items()}
    known = {name for names in GROUPS.values() for name in names}
    found[_OTHERS] = [name for name in left if name not in known]
    return {title: names for title, names in found.items() if names}


def lines(modules: Mapping[str, str], offered: Iterable[str], width: int) -> Iterator[str]:
    """Yield the list of commands, each with the beginning of its help; `modules` says where each is defined."""
    for title, names in grouped(offered).items():
        yield ""
        yield f"{title}:"
        for name in names:
            room = max(width - _NAME_CELLS - 4, 20)
            first, *more = textwrap.wrap(summary(modules[name], name), room) or [""]
            yield f"  {name:<{_NAME_CELLS}}  {first}".rstrip()
            yield from (" " * (_NAME_CELLS + 4) + line for line in more)


def summary(module: str, name: str) -> str:
    """Return a command's docstring up to its first stop, colon or semicolon, read from its source."""
    source = (_ROOT / Path(*module.split("."))).with_suffix(".py")
    if not source.exists():
        source = _ROOT / Path(*module.split(".")) / "__init__.py"
    text = source.read_text("utf-8")
    function = re.escape(name.replace("-", "_"))
    found = re.search(rf'^def {function}\(.*?"""(.+?)"""', text, re.MULTILINE | re.DOTALL) or re.search(
        rf'^{function} = .*?help="+(.+?)"', text, re.MULTILINE | re.DOTALL
    )
    said = " ".join(found[1].split()) if found else ""
    sentence = _SENTENCE.match(said)
    return sentence[1] if sentence else said


def near(name: str, offered: Iterable[str]) -> str:
    """Return the question for a command that does not exist: "Did you mean ...?", or ""."""
    matches = get_close_matches(name, list(offered), n=2)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""
