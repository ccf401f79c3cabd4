"""Whose a link is that several images have, as a table of one poll."""

from dataclasses import dataclass

import pytest

from shared.lifecycle import ImageState
from shared.upstream_ids import mark_of
from worker import next_step
from worker.providers.contract import UpstreamImage

P, R = ImageState.PROCESSING, ImageState.READY


@dataclass(frozen=True)
class Row:
    upstream_id: str | None
    link: str | None = None


def ready(link: str) -> UpstreamImage:
    return UpstreamImage(R, link=link, stated=(8, 8))


def none_yet() -> UpstreamImage:
    return UpstreamImage(P, lacks_link=True)


@pytest.mark.parametrize(
    ("rows", "found", "others"),
    [
        ([Row("a"), Row("b")], {"a": ready("1"), "b": ready("2")}, {}),
        ([Row("a"), Row("b"), Row("c")], {"a": ready("1"), "b": ready("1"), "c": ready("1")}, {"b", "c"}),
        ([Row("a"), Row("b", "1")], {"a": ready("1")}, {"a"}),
        ([Row("a", "1")], {"a": ready("1")}, {}),
        ([Row("a"), Row("b")], {"b": ready("1")}, {}),
        ([Row(None, "1"), Row("b")], {"b": ready("1")}, {"b"}),
        ([Row("a", mark_of("1")), Row("b")], {"b": ready("1")}, {"b"}),
        ([Row("a", mark_of("1")), Row("b")], {"b": ready("2")}, {}),
        ([], {"a": ready("1")}, {}),
    ],
)
def test_a_link_is_one_images_and_the_others_have_none_yet(
    rows: list[Row], found: dict[str, UpstreamImage], others: set[str]
) -> None:
    assert next_step.links_of_others(found, rows) == dict.fromkeys(others, none_yet())


def test_a_link_to_what_is_still_unfinished_is_one_images_too() -> None:
    early = UpstreamImage(P, early_link="1")
    rows = [Row("a"), Row("b")]
    assert next_step.links_of_others({"a": early, "b": early}, rows) == {"b": UpstreamImage(P)}
