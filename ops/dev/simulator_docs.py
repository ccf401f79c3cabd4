"""The page about faults in a trial, made of what the simulator says of itself."""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from ops.simulator import faults, marks

_OF_PAGE: Final = "docs/simulator.md is made of this text."
_INDENT: Final = "    "
_HEAD: Final = """\
# Making a provider fail

In a trial every account is the simulator's. It fails as you ask: by a mark in a prompt, or by a plan of faults. So you
can see what a failure looks like, and test a program of yours against it, without paying. This page is generated from
`ops/simulator/marks.py` and `ops/simulator/faults.py`. [faults.md](faults.md) says where each failure then shows.

## Marks in a prompt

```console
$ echo '{"custom_id": "hero", "provider": "bloom", "prompt": "[sim:moderated] a harbour"}' > rows.jsonl
$ .venv/bin/genqueue --trial enqueue rows.jsonl --wait
```
"""
_PLANS: Final = """\
## Plans of faults

`genqueue up --simulator` prints the simulator's address. A plan replaces the one before; an empty object ends
all faults:

```console
$ curl -X PUT http://127.0.0.1:PORT/_sim/faults --data \\
    '[{"match": {"provider": "bloom"}, "fault": "refuse_503", "times": 3}]'
$ curl http://127.0.0.1:PORT/_sim/faults
$ curl -X PUT http://127.0.0.1:PORT/_sim/faults --data '{}'
```

`genqueue simulator --faults plan.json` starts a simulator of its own with a plan.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_body(marks), "", _PLANS, *_body(faults)]).rstrip() + "\n"


def _body(module: ModuleType) -> Iterator[str]:
    """Yield the lines of a module's docstring as Markdown, without its first line."""
    text = inspect.getdoc(module) or ""
    inside = False
    for line in _joined(text.replace(_OF_PAGE, "").replace("``", "`").splitlines()[2:]):
        if line.startswith(_INDENT) and not inside:
            yield "```json"
        elif inside and not line.startswith(_INDENT):
            yield "```"
        inside = line.startswith(_INDENT)
        yield (line.removeprefix(_INDENT) if inside else line.replace("::", ":")).rstrip()


def _joined(lines: list[str]) -> Iterator[str]:
    """Yield the lines, with a row of a table that goes on in the next line as one."""
    row = ""
    for line in lines:
        row = f"{row} {line}".strip() if row else line
        if row.startswith("|") and not row.endswith("|"):
            continue
        yield row
        row = ""
