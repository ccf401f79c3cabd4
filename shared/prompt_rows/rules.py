"""How the columns of people's own files become jobs: which are carried along, and how prompts are composed of them."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Final

from shared.prompt_rows.columns import is_column
from shared.prompt_rows.faults import shown
from shared.prompt_rows.ways import PROGRAM, Ways

META_PREFIX: Final = "meta."
_OFTEN_THEIRS: Final = frozenset({"aspect_ratio", "model", "n", "output_format", "priority", "seed", "size"})
"""Columns of genqueue's that a list of products may have with another meaning, such as a shirt's size."""
_PARTS: Final = re.compile(r"\{\{|\}\}|\{([^{}|]+)(\|[^{}|]*)?\}|[{}]")
# What an empty cell leaves behind, such as "mug, , on white": a doubled comma, a space before one, doubled spaces.
_LEFT_BEHIND: Final = (
    (re.compile(r"([,;])(?:\s*[,;])+"), r"\1"),
    (re.compile(r"\s+(?=[,;.])"), ""),
    (re.compile(r"  +"), " "),
)


class TemplateError(ValueError):
    """A template that is not text with column names in braces; the message says what is wrong with it."""


class MissingValueError(LookupError):
    """A row has nothing in a column that a template names."""


class Template:
    """Text with column names in braces, such as "{title} on white"; `{{` and `}}` stand for braces.

    "{colour|white}" says what stands for an empty cell; "{colour|}" leaves it out.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.columns = tuple(found[1] for found in _PARTS.finditer(text) if found[1])
        if not self.columns or any(found[0] in "{}" for found in _PARTS.finditer(text)):
            raise TemplateError("is text with column names in braces, such as '{title} on white'; {{ is a brace")

    def filled(self, values: Mapping[str, Any]) -> str:
        """Return the text with a row's values; raises `MissingValueError` with the name of an empty column."""
        parts: list[str] = []
        tidy = False
        at = 0
        for found in _PARTS.finditer(self.text):
            value = _value(values, found[1], found[2]) if found[1] else found[0][0]
            tidy |= not value
            parts += [self.text[at : found.start()], value]
            at = found.end()
        text = "".join(parts) + self.text[at:]
        return _tidied(text) if tidy else text


@dataclass(frozen=True)
class RowRules:
    """What happens to the columns that are not genqueue's own.

    keep_columns  carry every unknown column along as metadata; without it, such a column is a fault
    keep          carry these along, even one that has the name of a column of genqueue's, such as `size`
    columns       our columns that stand in the file under another name: ours -> theirs
    prompt        a template that makes each prompt
    custom_id     a template that makes each custom_id
    model         the model of rows that name none
    encoding      what the file was saved in, such as cp1252; None: UTF-8, or as its byte order mark says
    sample        take only so many rows, the first ones; all are checked
    ways          the words of the door that the rows came by
    """

    keep_columns: bool = False
    keep: Collection[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    prompt: Template | None = None
    custom_id: Template | None = None
    model: str | None = None
    encoding: str | None = None
    sample: int | None = None
    ways: Ways = PROGRAM

    def hint(self, field: str, columns: Collection[str]) -> str:
        """Return what to add to a fault of `field` in a row with `columns`; empty where nothing helps."""
        if field == "model" and self.model is None and field not in columns:
            return f"; {self.ways.model}"
        if self.keep_columns and field in _OFTEN_THEIRS and field in columns and self.ways.keep:
            return f"; if this column means something else here: {self.ways.keep.format(column=field)}"
        return ""

    @cached_property
    def templates(self) -> Mapping[str, Template]:
        """The templates that were given, by the column that each makes."""
        given = {"prompt": self.prompt, "custom_id": self.custom_id}
        return {name: template for name, template in given.items() if template}

    @cached_property
    def _by_theirs(self) -> Mapping[str, str]:
        return {theirs: ours for ours, theirs in self.columns.items()}

    def ours(self, name: str) -> str:
        """Return our name of a file's column; its own name where it has no other."""
        return self._by_theirs.get(name, name)

    def by_both_names(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row's values for templates, which may name a column as the file does."""
        return {**values, **{theirs: values[ours] for ours, theirs in self.columns.items() if ours in values}}

    @cached_property
    def used(self) -> frozenset[str]:
        """The columns that templates name."""
        return frozenset(name for template in self.templates.values() for name in template.columns)

    def key_of(self, name: str) -> str | None:
        """Return the metadata's key under which a column is carried along; None if it is not."""
        if name.startswith(META_PREFIX):
            return name.removeprefix(META_PREFIX) or None
        if name in self.keep or (self.keep_columns and name and not is_column(name)):
            return name
        return None

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Return the columns without a use: not ours by any name, not carried along, and in no template."""
        return [name for name in names if not (is_column(name) or self._is_used(name))]

    def _is_used(self, name: str) -> bool:
        return name in self.columns.values() or name in self.used or self.key_of(name) is not None

    def twice_made(self, made: str, names: Collection[str]) -> str | None:
        """Say what is wrong if a file has the column that a template makes."""
        if made not in names or made in self.templates[made].columns or made in self.keep:
            return None
        other = self.ways.template.format(column=made.replace("_", "-"))
        return f"is a column, and {other} makes it too; use {{{made}}} there, or drop one"

    def complaints(self, names: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield (column, message) for each template or name that does not fit a file with the columns `names`."""
        for ours, theirs in self.columns.items():
            if theirs not in names:
                yield ours, f"stands in a column {shown(theirs)} that the file does not have{_near(theirs, names)}"
            elif ours in names:
                yield ours, f"is a column, and {shown(theirs)} stands for it too; leave one out"
        for made, template in self.templates.items():
            if complaint := self.twice_made(made, names):
                yield made, complaint
            for name in template.columns:
                if name not in names:
                    yield made, f"is made of a column {shown(name)} that the file does not have{_near(name, names)}"


def _near(name: str, names: Collection[str]) -> str:
    near = get_close_matches(name, list(names), n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""


def _value(values: Mapping[str, Any], name: str, otherwise: str | None) -> str:
    """Return a cell's text, else what the template has for an empty one, which begins with "|"."""
    value = "" if values.get(name) is None else str(values[name]).strip()
    if not value and otherwise is None:
        raise MissingValueError(name)
    return value or (otherwise or "")[1:]


def _tidied(text: str) -> str:
    for left_behind, instead in _LEFT_BEHIND:
        text = left_behind.sub(instead, text)
    return text.strip(" ,;")
