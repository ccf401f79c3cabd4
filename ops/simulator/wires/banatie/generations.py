"""Banatie's generations: what each is, how far it has come by now, and what a client is told of it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ops.simulator.clock import iso
from ops.simulator.draws import digest, uuid4_like
from ops.simulator.gallery import DrawnPicture

STATUSES = ("pending", "processing", "success", "failed")


@dataclass(slots=True)
class BanatieGeneration:
    """One generation: pending until ``started`` and processing until ``ready`` (Unix seconds).

    ``failure`` is the message that it ends with, ``seconds`` its simulated length, ``image`` the id of its picture,
    which stays the same when it is run again, ``runs`` how often it was. ``number`` counts the generations; ``skew`` is
    how many real seconds the provider's clock was ahead when this one was created.
    """

    id: str
    number: int
    key: str
    prompt: str
    original: str
    enhance: bool
    template: str
    ratio: str
    meta: Mapping[str, Any]
    alias: str | None
    flow: str
    image: str
    created: float
    updated: float
    started: float
    ready: float
    seconds: float
    failure: str | None
    runs: int = 0
    skew: float = 0.0

    def status_at(self, now: float) -> str:
        """Return pending, processing, success or failed."""
        if now < self.started:
            return "pending"
        if now < self.ready:
            return "processing"
        return "failed" if self.failure else "success"

    def created_json(self, now: float) -> dict[str, Any]:
        """Return the eleven fields of a 201."""
        status = self.status_at(now)
        ended = status in {"success", "failed"}
        return {
            "id": self.id,
            "projectId": project_id(self.key),
            "prompt": self.prompt,
            "originalPrompt": self.original,
            "autoEnhance": self.enhance,
            "aspectRatio": self.ratio,
            "status": status,
            "outputImageId": self.image if status == "success" else None,
            "processingTimeMs": round(self.seconds * 1000) if ended else None,
            "createdAt": iso(self.created + self.skew),
            "updatedAt": iso((self.ready if ended else self.updated) + self.skew),
        }

    def full_json(self, now: float, output: dict[str, Any] | None) -> dict[str, Any]:
        """Return all fields; ``output`` describes the picture of one that succeeded."""
        failed = self.status_at(now) == "failed"
        return {
            **self.created_json(now),
            "outputImage": output,
            "retryCount": self.runs,
            "errorMessage": self.failure if failed else None,
            "meta": self.meta,
        }

    def row_json(self, now: float, *, meta: bool) -> dict[str, Any]:
        """Return a row of a list, which has neither picture nor error, and ``meta`` only if told."""
        row = self.created_json(now)
        del row["projectId"], row["updatedAt"]
        return {**row, "meta": self.meta} if meta else row


def stranger_json(now: float, status: str) -> dict[str, Any]:
    """Return a list row of another's generation of which nothing else is known."""
    unknown = ("prompt", "originalPrompt", "autoEnhance", "aspectRatio", "outputImageId", "processingTimeMs")
    return {"id": "", **dict.fromkeys(unknown), "status": status, "createdAt": iso(now)}


class Projects:
    """All generations by key, each of which is a project, in the order in which they were created."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, BanatieGeneration]] = {}
        self._by_image: dict[tuple[str, str], BanatieGeneration] = {}
        self._keys: dict[str, str] = {}
        self._last = 0

    def next_number(self) -> int:
        """Return the number of the next generation."""
        self._last += 1
        return self._last

    def add(self, generation: BanatieGeneration) -> None:
        """Put a generation into its project, in place of the one with its id."""
        key = generation.key
        self._by_key.setdefault(key, {})[generation.id] = generation
        self._keys[project_name(key)] = key
        for name in filter(None, (generation.image, generation.alias)):
            self._by_image[key, name] = generation

    def key_of(self, name: str) -> str | None:
        """Return the key whose project has this name."""
        return self._keys.get(name)

    def owned(self, key: str, generation_id: str) -> BanatieGeneration | None:
        """Return the generation with this id if it belongs to ``key``."""
        return self._by_key.get(key, {}).get(generation_id)

    def newest(self, key: str) -> Iterator[BanatieGeneration]:
        """Return the generations of ``key``, newest first."""
        return iter(reversed(self._by_key.get(key, {}).values()))

    def with_image(self, key: str, name: str) -> BanatieGeneration | None:
        """Return the generation whose image has this id or ``@alias``."""
        return self._by_image.get((key, name))

    def remove(self, generation: BanatieGeneration) -> None:
        """Delete a generation; an image with an alias outlives it."""
        self._by_key[generation.key].pop(generation.id)
        if generation.alias is None:
            self._by_image.pop((generation.key, generation.image))

    def dump(self) -> dict[str, Any]:
        """Return all generations as JSON."""
        return {"generations": [asdict(item) for items in self._by_key.values() for item in items.values()]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``dump`` returned."""
        for row in state["generations"]:
            self.add(BanatieGeneration(**row))
            self._last = max(self._last, row["number"])

    def reset(self) -> None:
        """Forget all generations."""
        self._by_key.clear()
        self._by_image.clear()
        self._keys.clear()


def project_id(key: str) -> str:
    """Return the ``projectId`` of a key."""
    return uuid4_like("banatie project", key)


def project_name(key: str) -> str:
    """Return the project's name in the paths of the CDN."""
    return f"project-{digest(key).hex()[:8]}"


def image_json(picture: DrawnPicture, url: str, size: int) -> dict[str, Any]:
    """Return ``outputImage``; ``size`` is in bytes."""
    return {
        "id": picture.id,
        "storageUrl": url,
        "mimeType": picture.content_type,
        "width": picture.sketch.width,
        "height": picture.sketch.height,
        "fileSize": size,
    }
