"""Lists as a provider may show them: in another order, in short pages, late, frozen, with strangers between."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from ops.simulator.draws import digest
from ops.simulator.settings import SimulatedWireSettings
from ops.simulator.world import World

_PRINTED = {"'": "\u2019", "...": "\u2026", "--": "\u2013", " - ": " \u2013 "}
_ENHANCED = "A detailed, well composed picture of {}, in balanced light"


class ListedRow(Protocol):
    """What a list needs to know of a thing; ``created`` is true time in Unix seconds, ``number`` counts from 1."""

    id: str
    number: int
    created: float


R = TypeVar("R", bound=ListedRow)


class Lists:
    """The lists of one wire, by the settings that hold as they are asked for."""

    def __init__(self, world: World, provider: str) -> None:
        self._world = world
        self._provider = provider

    @property
    def _settings(self) -> SimulatedWireSettings:
        return self._world.settings_of(self._provider)

    def shown(self, newest: Iterable[R]) -> Iterable[R]:
        """Return what a list shows of the rows, which come newest first."""
        settings, world = self._settings, self._world
        latest = world.clock.now() - settings.list_lag_seconds
        if settings.list_frozen:
            latest = min(latest, world.since(self._provider, "list_frozen"))
        seen = (row for row in newest if row.created <= latest)
        return seen if settings.list_order == "newest" else sorted(seen, key=self.place)

    def place(self, row: R) -> int:
        """Return the row's place in a list: rows are shown by rising places, which do not change with new rows."""
        order = self._settings.list_order
        if order == "shuffled":
            return int.from_bytes(digest(self._world.config.seed, "shuffled", row.id)[:7], "big")
        return row.number if order == "oldest" else -row.number

    def page_size(self, asked: int) -> int:
        """Return the most rows of a page for which ``asked`` were asked."""
        most = self._settings.list_page_limit
        return asked if most is None else min(asked, most)

    def lags(self, row: R) -> bool:
        """Tell whether the row's own address does not know it yet."""
        return self._world.clock.now() < row.created + self._settings.get_lag_seconds

    def echo(self, prompt: str) -> str | None:
        """Return the prompt as it is repeated; ``None`` for null and absent."""
        how = self._settings.prompt_echo
        return None if how in {"null", "absent"} else _ECHOES[how](prompt)

    def echoed(self, document: dict[str, Any], *names: str) -> dict[str, Any]:
        """Return the document with its prompts, which have these names, as they are repeated."""
        if self._settings.prompt_echo == "absent":
            return {name: value for name, value in document.items() if name not in names}
        return {**document, **{name: self.echo(document[name]) for name in names}}

    def mixed(self, rows: list[dict[str, Any]], stranger: dict[str, Any], time_field: str) -> list[dict[str, Any]]:
        """Return the rows of a page with the strangers among them.

        ``stranger`` is a whole row with null for what is not known. Every second stranger has its id alone. Each has
        the time of the row before it, so that the order of times stays what it was.
        """
        count = self._settings.list_null_rows
        made = [self._stranger(stranger, number) for number in range(count)]
        mixed = list(rows)
        for number, row in enumerate(reversed(made)):
            at = len(rows) * (count - number) // (count + 1)
            neighbour = rows[max(0, at - 1)] if rows else stranger
            if time_field in row:
                row[time_field] = neighbour[time_field]
            mixed.insert(at, row)
        return mixed

    def _stranger(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        (id_field, _), *_rest = row.items()
        known = str(digest(self._provider, "stranger", number).hex())
        id_value = "-".join((known[:8], known[8:12], f"4{known[13:16]}", f"a{known[17:20]}", known[20:32]))
        return {id_field: id_value} if number % 2 else {**row, id_field: id_value}


def _typographic(prompt: str) -> str:
    text = "".join(_set_quotes(prompt))
    for typed, printed in _PRINTED.items():
        text = text.replace(typed, printed)
    return text


def _set_quotes(prompt: str) -> Iterator[str]:
    opens = True
    for letter in prompt:
        yield ("\u201c" if opens else "\u201d") if letter == '"' else letter
        opens = opens != (letter == '"')


_ECHOES: dict[str, Callable[[str], str]] = {
    "same": str,
    "cut": lambda prompt: prompt[: max(1, len(prompt) // 2)],
    "nfd": lambda prompt: unicodedata.normalize("NFD", prompt),
    "typographic": _typographic,
    "enhanced": _ENHANCED.format,
}
