"""The pictures that were sold: kept as a few words each, drawn when somebody downloads them."""

import hashlib
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

import anyio
import anyio.to_thread

from ops.simulator.pictures import MIME_TYPES, Sketch, draw

HTML_PAGE = b"<!doctype html><html><head><title>Just a moment...</title></head><body>Checking</body></html>"


@dataclass(slots=True)
class DrawnPicture:
    """One picture of one submission. ``defect`` is "corrupt" or "html"; ``created`` is Unix seconds."""

    id: str
    provider: str
    key: str
    submission_id: str
    sketch: Sketch
    created: float
    defect: str | None = None
    expires_at_once: bool = False
    downloads: int = 0

    @property
    def content_type(self) -> str:
        """The media type that the picture is served under, whatever its bytes are."""
        return MIME_TYPES[self.sketch.image_format]


class Gallery:
    """All pictures by id, and a bounded memory of those drawn last (``cache_bytes``)."""

    def __init__(self, cache_bytes: int = 64 * 1024 * 1024) -> None:
        self._pictures: dict[str, DrawnPicture] = {}
        self._drawn: OrderedDict[str, bytes] = OrderedDict()
        self._drawn_bytes = 0
        self._cache_bytes = cache_bytes
        self._pens: anyio.CapacityLimiter | None = None

    def add(self, picture: DrawnPicture) -> None:
        """Keep ``picture`` until a reset, in place of one with the same id."""
        if picture is not self._pictures.get(picture.id) and picture.id in self._pictures:
            self._forget(picture.id)
        self._pictures[picture.id] = picture

    def get(self, picture_id: str) -> DrawnPicture | None:
        """Return the picture with this id, or ``None``."""
        return self._pictures.get(picture_id)

    def all(self, provider: str | None = None) -> list[DrawnPicture]:
        """Return the pictures of one provider, or of all, in the order in which they were sold."""
        return [item for item in list(self._pictures.values()) if provider in {None, item.provider}]

    async def file(self, picture: DrawnPicture) -> bytes:
        """Return the bytes that a download of ``picture`` delivers, drawn in a thread."""
        known = self._drawn.get(picture.id)
        if known is not None:
            self._drawn.move_to_end(picture.id)
            return known
        if self._pens is None:
            self._pens = anyio.CapacityLimiter(4)
        content = await anyio.to_thread.run_sync(_contents, picture, limiter=self._pens)
        self._remember(picture.id, content)
        return content

    async def describe(self, picture: DrawnPicture) -> dict[str, Any]:
        """Return the picture's metadata with the SHA-256 and length of the bytes that a download delivers."""
        content = await self.file(picture)
        return {**summary(picture), "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    def reset(self) -> None:
        """Forget every picture."""
        self._pictures.clear()
        self._drawn.clear()
        self._drawn_bytes = 0

    def dump(self) -> list[dict[str, Any]]:
        """Return all pictures as JSON rows."""
        return [asdict(picture) for picture in self._pictures.values()]

    def load(self, rows: list[dict[str, Any]]) -> None:
        """Take over rows that ``dump`` returned."""
        for row in rows:
            self.add(DrawnPicture(**{**row, "sketch": Sketch(**row["sketch"])}))

    def remove(self, picture_id: str) -> None:
        """Delete a picture: its provider no longer serves it."""
        self._pictures.pop(picture_id, None)
        self._forget(picture_id)

    def _forget(self, picture_id: str) -> None:
        self._drawn_bytes -= len(self._drawn.pop(picture_id, b""))

    def _remember(self, picture_id: str, content: bytes) -> None:
        if picture_id in self._drawn:
            return
        self._drawn[picture_id] = content
        self._drawn_bytes += len(content)
        while self._drawn_bytes > self._cache_bytes:
            _, oldest = self._drawn.popitem(last=False)
            self._drawn_bytes -= len(oldest)


def summary(picture: DrawnPicture) -> dict[str, Any]:
    """Return what is known about a picture without drawing it."""
    sketch = picture.sketch
    return {
        "id": picture.id,
        "provider": picture.provider,
        "submission_id": picture.submission_id,
        "prompt": sketch.prompt,
        "model": sketch.model,
        "aspect_ratio": sketch.ratio,
        "index": sketch.index,
        "width": sketch.width,
        "height": sketch.height,
        "content_type": picture.content_type,
        "defect": picture.defect,
        "downloads": picture.downloads,
    }


def _contents(picture: DrawnPicture) -> bytes:
    if picture.defect == "html":
        return HTML_PAGE
    content = draw(picture.sketch)
    return content[: len(content) * 2 // 3] if picture.defect == "corrupt" else content
