"""Decides whose a link is that several images have: an image is stored once, and not as another that was paid for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from shared.lifecycle import ImageState
from shared.upstream_ids import mark_of
from worker.providers.contract import UpstreamImage


class LinkedImage(Protocol):
    """The part of an image that tells whose a link is."""

    @property
    def upstream_id(self) -> str | None:
        """Its id at its provider."""
        ...

    @property
    def link(self) -> str | None:
        """The link to it that is known from an earlier look, or the mark that is left of it."""
        ...


def links_of_others(found: Mapping[str, UpstreamImage], images: Sequence[LinkedImage]) -> dict[str, UpstreamImage]:
    """Return the images of a poll whose links are another image's, each as one that has no link yet.

    A link belongs to the image that had it first, also after that image was stored. The look after this one may show
    the image's own.
    """
    owners = {mark_of(image.link): image.upstream_id for image in images if image.link is not None}
    others: dict[str, UpstreamImage] = {}
    for image in images:
        name = image.upstream_id or ""
        look = found.get(name)
        link = None if look is None else look.link or look.early_link
        if look is not None and link is not None and owners.setdefault(mark_of(link), name) != name:
            others[name] = _without_link(look)
    return others


def _without_link(look: UpstreamImage) -> UpstreamImage:
    finished = look.state is ImageState.READY
    state = ImageState.PROCESSING if finished else look.state
    bare = replace(look, link=None, link_expires_at=None, early_link=None, stated=None)
    return replace(bare, state=state, lacks_link=finished)
