"""Bloom's images: what each is, how far it has come by now, and how a list of them is cut into pages."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ops.simulator.clock import iso
from ops.simulator.gallery import DrawnPicture
from ops.simulator.wires.bloom.brands import READY_BRAND, WORKSPACE_NAME


@dataclass(slots=True)
class BloomImage:
    """One image of one submission.

    It is pending until ``started`` and generating until ``ready`` (Unix seconds); nothing runs meanwhile.
    ``fails`` makes it end as failed, with ``reason`` or without. ``skew`` is how many real seconds the provider's clock
    was ahead when the image was created.
    """

    id: str
    number: int
    key: str
    brand: str
    group: str | None
    created: float
    started: float
    ready: float
    fails: bool
    reason: str | None
    skew: float = 0.0

    def status_at(self, now: float) -> str:
        """Return pending, generating, completed or failed."""
        if now < self.started:
            return "pending"
        if now < self.ready:
            return "generating"
        return "failed" if self.fails else "completed"


def stranger_json(now: float, brand: str | None) -> dict[str, Any]:
    """Return a list row of another's image, with null wherever Bloom's document allows it."""
    nullable = (
        "failureReason",
        "prompt",
        "description",
        "aspectRatio",
        "width",
        "height",
        "variantGroupId",
        "workspaceId",
    )
    return {
        "id": "",
        "source": "generated",
        "status": "completed",
        **dict.fromkeys(nullable),
        "actionType": "generation",
        "workspaceName": WORKSPACE_NAME,
        "createdAt": iso(now),
        "brandSessionId": brand or READY_BRAND,
    }


def image_json(image: BloomImage, picture: DrawnPicture, now: float, url: str) -> dict[str, Any]:
    """Return all fifteen fields of ``GET /images/{id}``, null until known."""
    status, sketch = image.status_at(now), picture.sketch
    done = status == "completed"
    return {
        "id": image.id,
        "source": "generated",
        "status": status,
        "failureReason": image.reason if status == "failed" else None,
        "prompt": sketch.prompt,
        "description": None,
        "imageUrl": url if done else None,
        "aspectRatio": sketch.ratio,
        "width": sketch.width if done else None,
        "height": sketch.height if done else None,
        "actionType": "variant" if image.group else "generation",
        "variantGroupId": image.group,
        "workspaceId": None,
        "workspaceName": WORKSPACE_NAME,
        "createdAt": iso(image.created + image.skew),
    }


class Shelf:
    """All images, by id and by key in the order of their creation."""

    def __init__(self) -> None:
        self._images: dict[str, BloomImage] = {}
        self._by_key: dict[str, dict[str, BloomImage]] = {}
        self._last = 0

    def next_number(self) -> int:
        """Return the place of the next image in its lists."""
        self._last += 1
        return self._last

    def add(self, image: BloomImage) -> None:
        """Put an image on the shelf."""
        self._images[image.id] = image
        self._by_key.setdefault(image.key, {})[image.id] = image

    def get(self, image_id: str) -> BloomImage | None:
        """Return the image with this id, whoever owns it."""
        return self._images.get(image_id)

    def owned(self, key: str, image_id: str) -> BloomImage | None:
        """Return the image with this id if it belongs to ``key``."""
        return self._by_key.get(key, {}).get(image_id)

    def remove(self, image: BloomImage) -> None:
        """Take an image off the shelf; its link dies with it."""
        self._images.pop(image.id)
        self._by_key[image.key].pop(image.id)

    def count(self, key: str, brand: str) -> int:
        """Return how many images of a brand belong to ``key``."""
        return sum(image.brand == brand for image in self._by_key.get(key, {}).values())

    def newest(self, key: str, ids: Iterable[str] | None) -> Iterable[BloomImage]:
        """Return the images of ``key``, newest first; with ``ids`` only those, and no walk over the rest."""
        if ids is None:
            return reversed(self._by_key.get(key, {}).values())
        owned = (self.owned(key, image_id) for image_id in ids)
        return sorted((image for image in owned if image), key=lambda image: -image.number)

    def dump(self) -> dict[str, Any]:
        """Return the shelf as JSON."""
        return {"images": [asdict(image) for image in self._images.values()], "last": self._last}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``dump`` returned."""
        for row in state["images"]:
            self.add(BloomImage(**row))
        self._last = state["last"]

    def reset(self) -> None:
        """Forget all images."""
        self._images.clear()
        self._by_key.clear()


def cut_page(
    images: Iterable[BloomImage], wanted: Callable[[BloomImage], bool], limit: int
) -> tuple[list[BloomImage], bool]:
    """Return up to ``limit`` of the images that are wanted, and whether there are more."""
    found: list[BloomImage] = []
    for image in images:
        if wanted(image):
            if len(found) == limit:
                return found, True
            found.append(image)
    return found, False
