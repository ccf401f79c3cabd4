"""Generates the pages of docs/ that come from the code. A test compares them, so they cannot drift.

`python -m ops.dev.docs` rewrites them; `pages` names them.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from ops.dev import api_docs, simulator_docs
from shared import catalog, lifecycle
from shared.account_settings import AccountSettings
from shared.errors import CODES
from shared.lifecycle import FINAL, TRANSITIONS, ImageState, JobState, Outcome
from shared.settings import Settings

_ROOT: Final = Path(__file__).parents[2]


def main() -> int:
    """Write every generated page."""
    for name, write in pages().items():
        (_ROOT / "docs" / name).write_text(write(), encoding="utf-8")
    return 0


def pages() -> dict[str, Callable[[], str]]:
    """Return what writes each generated page, by its name under docs/."""
    return {
        "lifecycle.md": _lifecycle,
        "errors.md": _errors,
        "settings.md": _settings,
        "openapi.json": api_docs.openapi,
        "api-reference.md": api_docs.reference,
        "simulator.md": simulator_docs.page,
    }


def _lifecycle() -> str:
    glosses = _glosses()
    lines = [
        "# The life of a job",
        "",
        "A job is one row that moves through these states. Each move is one guarded UPDATE that reports whether it",
        "succeeded. The same transaction writes an event, and `genqueue explain JOB` prints the events. This page is",
        "generated from `shared/lifecycle.py`.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> queued",
        *_arrows(),
        "```",
        "",
        "A job that stays in its state only gets a new due time. Only a person or late evidence moves a failed job.",
        "",
        *_table("state", JobState, glosses["JobState"]),
        "## Attempts to pay",
        "",
        *_table("outcome", Outcome, glosses["Outcome"]),
        "## Images",
        "",
        *_table("state", ImageState, glosses["ImageState"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _arrows() -> Iterator[str]:
    for before, afters in TRANSITIONS.items():
        for after in sorted(afters - {before}, key=list(JobState).index):
            yield f"    {before} --> {after}"
    for state in sorted(FINAL, key=list(JobState).index):
        yield f"    {state} --> [*]"


def _table(title: str, words: Any, glosses: dict[str, str]) -> Iterator[str]:
    yield f"| {title} | what it means, and who acts next |"
    yield "|---|---|"
    for word in words:
        yield f"| `{word.value}` | {glosses[word.name]} |"
    yield ""


def _glosses() -> dict[str, dict[str, str]]:
    """Read the docstring under each enum member; Python keeps it only in the source."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(Path(lifecycle.__file__).read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        members: dict[str, str] = {}
        for member, gloss in zip(node.body, node.body[1:], strict=False):
            match member, gloss:
                case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(sentence))):
                    members[name] = " ".join(sentence.split())
        found[node.name] = members
    return found


def _errors() -> str:
    lines = [
        "# Error codes",
        "",
        "A code is stored with the job (in its row, its events, its images or its attempts), or with a paused account.",
        "`genqueue jobs`, `explain` and `results` show the codes of jobs. Only `daily_cap_reached` is stored nowhere:",
        "`explain`, `status` and `watch` say in words that a daily cap is reached. Codes do not change between",
        "releases. This page is generated from `shared/errors.toml`.",
        "",
        "| code | it means | the queue | you can |",
        "|---|---|---|---|",
        *(f"| `{e.code}` | {e.meaning} | {e.queue_does} | {e.you_can} |" for e in CODES.values()),
    ]
    return "\n".join(lines) + "\n"


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        "A setting comes from the environment or from `genqueue.toml` in the working directory; the environment takes",
        "precedence. The file uses the same names in lower case, without the prefix; an account is a table",
        "`[accounts.NAME]`.",
        "`genqueue doctor --settings` prints each setting with its origin. This page is generated from",
        "`shared/settings.py`.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
        *(
            f"| `GENQUEUE_{name.upper()}` | {_default(field.default)} | {field.description} |"
            for name, field in Settings.model_fields.items()
            if name != "accounts"
        ),
        "",
        "## Accounts",
        "",
        f"`PROVIDER` is one of {', '.join(name.upper() for name in catalog.names())}. For another account of the",
        "same provider, set `GENQUEUE_ACCOUNTS__NAME__PROVIDER` and `GENQUEUE_ACCOUNTS__NAME__FIELD`.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
        *(
            f"| `GENQUEUE_PROVIDER_{name.upper()}` | {_default(field.get_default(call_default_factory=True))} "
            f"| {field.description} |"
            for name, field in AccountSettings.model_fields.items()
            if name != "provider"
        ),
        "",
        "S3 credentials come from the standard AWS variables, profiles and roles. Only workers need API keys. Workers",
        "and `genqueue download` need the bucket. Producers need only the database.",
    ]
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", (), {}):
        return "-"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    sys.exit(main())
