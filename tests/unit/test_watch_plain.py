"""A watch without a terminal: one line of a log for each change. And one of a batch that is not there."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from producer.cli import watch
from producer.cli.patient import Patient
from producer.cli.terminal import Terminal
from producer.client import NoSuchBatchError


class Asked:
    """Asks a batch that settles at the second look, or one that is not there."""

    def __init__(self, *totals: dict[str, int]) -> None:
        self._totals = list(totals)

    def ask(self, question: Callable[[Any], Any]) -> Any:
        return question(self)

    def totals(self, batch: str) -> dict[str, int]:
        if not self._totals:
            raise NoSuchBatchError(batch)
        return self._totals.pop(0)

    def settling(self, batch: str) -> tuple[dict[str, int], bool]:
        totals = self.totals(batch)
        return totals, set(totals) == {"succeeded"}

    def waits(self, _batch: str) -> list[Any]:
        return []


def test_a_line_of_a_log_is_never_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(watch, "_TICK_SECONDS", 0)
    monkeypatch.setattr(watch, "_guess", lambda *_: 5.0)
    opened = Asked({"queued": 7, "pending": 5, "succeeded": 3}, {"succeeded": 15})
    watch._plain(cast("Patient", opened), "b", Terminal(stderr=True))
    assert capsys.readouterr().err == "b: 7 queued  5 pending  3 succeeded  about 5 s left\n"


def test_nothing_is_drawn_for_a_batch_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as at a terminal
    with pytest.raises(NoSuchBatchError):
        watch._live(cast("Patient", Asked()), "nope", Terminal(stderr=True))
    assert capsys.readouterr().err == ""
