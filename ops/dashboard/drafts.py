"""Prompt files on their way into a batch: kept between the plan and the yes, for half an hour at most."""

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast, get_args

from producer.client.enqueueing import Enqueueing
from producer.plan import BatchPlan
from producer.prompts import ColumnNameError, Format, RowRules, Template, TemplateError, parse_columns
from shared.db.tokens import Token
from shared.policies import OnUnknown
from shared.prompt_rows.ways import FORM

MOST_BYTES: Final = 64 * 2**20
"""A larger file is for the command line."""
SAMPLE: Final = 5
"""Rows of a sample that is sent first."""
_SECONDS: Final = 1800.0
_MOST_DRAFTS: Final = 32
FORMATS: Final = ("auto", "csv", "jsonl", "txt", "xlsx")


class DraftError(ValueError):
    """A file or its options cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftTerms:
    """What a person chose beside the file.

    `caps` are written as `PROVIDER=AMOUNT`, separated by spaces.

    `columns` are written as `OURS=THEIRS`, one a line or separated by commas.
    """

    batch: str
    format: str = "auto"
    provider: str = ""
    model: str = ""
    caps: str = ""
    on_unknown: str = ""
    prompt: str = ""
    custom_id: str = ""
    columns: str = ""
    encoding: str = ""
    keep_columns: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, str], file_name: str, *, size: int) -> "DraftTerms":
        """Return the terms of a form for a file of `size` bytes; raises `DraftError`."""
        if not size:
            raise DraftError("choose a file, or paste some prompts")
        given = {name: fields.get(name, "").strip() for name in cls.__dataclass_fields__}
        if wrong := [name for name, value in given.items() if "\0" in value]:
            raise DraftError(f"{wrong[0]} contains a character that no text has")
        if given["on_unknown"] not in {"", *get_args(OnUnknown)}:
            raise DraftError(f"lost calls are hold or resend, not {given['on_unknown'][:40]!r}")
        batch = given["batch"] or Path(file_name).stem
        if not batch:
            raise DraftError("name the batch")
        suffix = Path(file_name).suffix.lower()
        by_suffix = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "txt", ".xlsx": "xlsx"}.get(
            suffix, ""
        )
        chosen = given["format"] if given["format"] in FORMATS[1:] else by_suffix
        if not chosen:
            raise DraftError("say how to read the file: CSV, JSON Lines, XLSX, or text with one prompt a line")
        return cls(**{**given, "batch": batch, "format": chosen})

    @property
    def rules(self) -> RowRules:
        """The rules for rows; raises `DraftError` for a template or a pair of column names that is none."""
        return RowRules(
            model=self.model or None,
            encoding=self.encoding or None,
            keep_columns=bool(self.keep_columns),
            columns=_columns(self.pairs),
            prompt=_template("prompt", self.prompt),
            custom_id=_template("custom_id", self.custom_id),
            ways=FORM,
        )

    @property
    def pairs(self) -> list[str]:
        """The pairs of column names, one by one."""
        return [pair for part in re.split(r"[\n,]", self.columns) if (pair := part.strip())]

    def arguments(self) -> dict[str, Any]:
        """Return the keywords for a plan or an enqueue."""
        return {
            "batch": self.batch,
            "format": cast("Format", self.format),
            "provider": self.provider or None,
            "max_cost": self.caps.split(),
            "rules": self.rules,
        }

    def command(self, *more: str) -> tuple[str, ...]:
        """Return the command that does the same with a file of that format."""
        options = {"--batch": self.batch, "--provider": self.provider, "--model": self.model,
                   "--on-unknown": self.on_unknown, "--prompt": self.prompt, "--custom-id": self.custom_id,
                   "--encoding": self.encoding}  # fmt: skip
        given = [part for name, value in options.items() if value for part in (name, value)]
        given += [part for cap in self.caps.split() for part in ("--max-cost", cap)]
        given += [part for pair in self.pairs for part in ("--column", pair)]
        return ("genqueue", "enqueue", f"FILE.{self.format}", *given,
                *(["--keep-columns"] if self.keep_columns else []), *more)  # fmt: skip


def _columns(pairs: list[str]) -> dict[str, str]:
    try:
        return parse_columns(pairs)
    except ColumnNameError as error:
        raise DraftError(str(error)) from None


def _template(name: str, text: str) -> Template | None:
    try:
        return Template(text) if text else None
    except TemplateError as error:
        raise DraftError(f"the template of {name} {error}") from None


@dataclass(frozen=True, slots=True)
class Draft:
    """One file with its terms, of one session."""

    id: str
    owner: str
    file: Path
    terms: DraftTerms
    ends: float

    def plan(self, client: Enqueueing, *, bounded: bool) -> BatchPlan:
        """Return what it would add and cost; raises as `Client.plan`, and `DraftError`.

        `bounded`: somebody sends it who may not spend more than a batch that is there allows.
        """
        return client.plan(self.file, bounded=bounded, **self.terms.arguments())

    def send(self, client: Enqueueing, token: Token | None, *, sample: bool, bounded: bool) -> int:
        """Enqueue it, or only the first rows, and return the number of new jobs; raises as `Client.enqueue_file`."""
        given = self.terms.arguments()
        if sample:
            given["rules"] = replace(given["rules"], sample=SAMPLE)
        policy = cast("OnUnknown", self.terms.on_unknown) if self.terms.on_unknown else None
        return client.enqueue_file(self.file, on_unknown=policy, token=token, bounded=bounded, **given).added


@dataclass(slots=True)
class Drafts:
    """The drafts of this process, each in a private file of `directory`."""

    directory: Path
    clock: Callable[[], float] = time.monotonic
    _kept: dict[str, Draft] = field(default_factory=dict)

    def open_file(self) -> tuple[str, Path]:
        """Return the id and the empty private file of a new draft; raises `DraftError` if there are too many."""
        self._drop_old()
        if len(self._kept) >= _MOST_DRAFTS:
            raise DraftError("too many files wait here to be sent: try again in half an hour")
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        named = secrets.token_urlsafe(12)
        file = self.directory / named
        file.touch(mode=0o600)
        return named, file

    def keep(self, named: str, owner: str, file: Path, terms: DraftTerms) -> Draft:
        """Keep a draft whose file is written."""
        draft = Draft(named, owner, file, terms, self.clock() + _SECONDS)
        self._kept[named] = draft
        return draft

    def find(self, named: str, owner: str) -> Draft | None:
        """Return a session's own draft, None if there is none of that id, or no more."""
        self._drop_old()
        found = self._kept.get(named)
        return found if found and found.owner == owner else None

    def drop(self, draft: Draft) -> None:
        """Forget a draft and delete its file."""
        self._kept.pop(draft.id, None)
        with contextlib.suppress(OSError):
            draft.file.unlink()

    def close(self) -> None:
        """Forget every draft."""
        for draft in list(self._kept.values()):
            self.drop(draft)

    def _drop_old(self) -> None:
        for draft in [draft for draft in self._kept.values() if draft.ends <= self.clock()]:
            self.drop(draft)
