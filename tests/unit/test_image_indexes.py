"""Which image of an answer has which place in its job, where links repeat."""

from shared.lifecycle import ImageState
from worker.providers.contract import UpstreamImage
from worker.stages.image_indexes import assign_indexes, surplus

READY, PENDING, FAILED = ImageState.READY, ImageState.PENDING, ImageState.FAILED


def linked(link: str, upstream_id: str | None = None) -> UpstreamImage:
    return UpstreamImage(READY, upstream_id, link, stated=(8, 8))


def test_a_link_twice_is_one_image_and_the_other_was_not_delivered() -> None:
    found = assign_indexes([0, 1], {"n": 2}, [linked("1"), linked("1")])
    assert [(image.index, image.state, image.link, image.error_code) for image in found] == [
        (0, READY, "1", None),
        (1, FAILED, None, "not_delivered"),
    ]


def test_an_image_with_an_id_is_asked_about_if_its_link_is_anothers() -> None:
    found = assign_indexes([0, 1], {"n": 2}, [linked("1", "a"), linked("1", "b")])
    assert [(image.upstream_id, image.state, image.link, image.stated) for image in found] == [
        ("a", READY, "1", (8, 8)),
        ("b", PENDING, None, None),
    ]


def test_a_link_many_times_takes_no_place_of_an_image_of_its_own() -> None:
    images = [linked("1")] * 50 + [linked("2")]
    assert [image.link for image in assign_indexes([0, 1], {"n": 2}, images)] == ["1", "2"]
    assert surplus([0, 1], images) == ()
