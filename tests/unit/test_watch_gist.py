"""What a watch without a terminal prints again: new counts and new reasons, not each try of the same one."""

import pytest

from producer.cli.watch import _gist

_SAID = ["b: 1 processing", "Bloom answered 404, 9 time(s), until 20:48:05 UTC", "  you can: `genqueue retry b/c9`"]


@pytest.mark.parametrize(
    "lines",
    [
        ["b: 1 processing", "Bloom answered 404, 10 time(s), until 20:49:00 UTC", "  you can: `retry b/c1`"],
        ["b: 1 processing", _SAID[1], "Bloom answered 404, 8 time(s), until 20:45:59 UTC", _SAID[2]],
    ],
)
def test_the_same_reason_with_other_figures_is_not_said_again(lines: list[str]) -> None:
    assert _gist(lines) == _gist(_SAID)


@pytest.mark.parametrize(
    "lines", [["b: 2 processing", *_SAID[1:]], ["b: 1 processing", "the bucket refuses"], ["b: 1 processing"]]
)
def test_new_counts_and_new_reasons_are_said(lines: list[str]) -> None:
    assert _gist(lines) != _gist(_SAID)
