"""The media library of PostEverywhere: what became of each image, and what a client is told of it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ops.simulator.clock import iso
from ops.simulator.gallery import DrawnPicture


@dataclass(slots=True)
class Media:
    """One image in the library: processing until ``ready`` (Unix seconds), then ready, or failed if it ``fails``.

    ``number`` counts the images of the library; ``skew`` is how many real seconds the provider's clock was ahead when
    the image was made.
    """

    id: str
    number: int
    key: str
    created: float
    ready: float
    fails: bool
    skew: float = 0.0

    def status_at(self, now: float) -> str:
        """Return processing, ready or failed."""
        if now < self.ready:
            return "processing"
        return "failed" if self.fails else "ready"


def media_json(media: Media, picture: DrawnPicture, now: float, size: int | None, status_field: str) -> dict[str, Any]:
    """Return the fields of a list row; ``size`` is in bytes, those of a file that is not ready are null."""
    status = media.status_at(now)
    done = status == "ready"
    return {
        "media_id": media.id,
        status_field: status,
        "type": "image",
        "filename": f"ai-{media.id[:8]}.{picture.sketch.image_format}",
        "content_type": picture.content_type,
        "size": size if done else None,
        "width": picture.sketch.width if done else None,
        "height": picture.sketch.height if done else None,
        "duration": None,
        "created_at": iso(media.created + media.skew),
    }


def stranger_json(now: float, status_field: str) -> dict[str, Any]:
    """Return a list row of another's image of which nothing else is known."""
    unknown = ("filename", "content_type", "size", "width", "height", "duration")
    return {"media_id": "", status_field: "ready", "type": "image", **dict.fromkeys(unknown), "created_at": iso(now)}


class Library:
    """All media by key, in the order in which they were made."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, Media]] = {}
        self._last = 0

    def next_number(self) -> int:
        """Return the number of the next image."""
        self._last += 1
        return self._last

    def add(self, media: Media) -> None:
        """Put an image into its owner's library."""
        self._by_key.setdefault(media.key, {})[media.id] = media

    def owned(self, key: str, media_id: str) -> Media | None:
        """Return the image with this id if it belongs to ``key``."""
        return self._by_key.get(key, {}).get(media_id)

    def anyones(self, media_id: str) -> Media | None:
        """Return the image with this id, whoever owns it."""
        return next((media[media_id] for media in self._by_key.values() if media_id in media), None)

    def newest(self, key: str) -> Iterator[Media]:
        """Return the images of ``key``, newest first."""
        return iter(reversed(self._by_key.get(key, {}).values()))

    def remove(self, media: Media) -> None:
        """Delete an image."""
        self._by_key[media.key].pop(media.id)

    def dump(self) -> dict[str, Any]:
        """Return the library as JSON."""
        return {"media": [asdict(media) for media_of in self._by_key.values() for media in media_of.values()]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``dump`` returned."""
        for row in state["media"]:
            self.add(Media(**row))
            self._last = max(self._last, row["number"])

    def reset(self) -> None:
        """Forget all images."""
        self._by_key.clear()
