"""One way to buy from, list and look at each simulated provider that has lists."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from ops.simulator import Simulator

BRAND = "11111111-1111-4111-8111-111111111111"
LISTING = ("bloom", "posteverywhere", "banatie")
_SUBMIT = {
    "bloom": "bloom/api/v1/images/generations",
    "posteverywhere": "posteverywhere/api/v1/ai/generate-image",
    "banatie": "banatie/api/v1/generations",
}
_ROWS = {
    "bloom": "bloom/api/v1/images",
    "posteverywhere": "posteverywhere/api/v1/media",
    "banatie": "banatie/api/v1/generations",
}
_MORE: dict[str, dict[str, Any]] = {
    "bloom": {"brandSessionId": BRAND},
    "posteverywhere": {"model": "flux-schnell"},
    "banatie": {"autoEnhance": False},
}
ID = {"bloom": "id", "posteverywhere": "media_id", "banatie": "id"}
TIME = {"bloom": "createdAt", "posteverywhere": "created_at", "banatie": "createdAt"}


@dataclass(frozen=True)
class Shop:
    """One provider of a running simulator, asked with one key."""

    sim: Simulator
    web: httpx.Client
    provider: str
    headers: dict[str, str] = field(default_factory=lambda: {"x-api-key": "sim-a", "authorization": "Bearer sim-a"})

    def set(self, **settings: Any) -> None:
        """Change settings of this provider over the wire."""
        self.web.put(f"{self.sim.url}/_sim/settings", json={self.provider: settings}).raise_for_status()

    def submit(self, prompt: str = "a lighthouse", **more: Any) -> httpx.Response:
        """Send one paid request."""
        body = {"prompt": prompt, **_MORE[self.provider], **more}
        return self.web.post(f"{self.sim.url}/{_SUBMIT[self.provider]}", json=body, headers=self.headers)

    def buy(self, prompt: str = "a lighthouse") -> str:
        """Buy one image and return its id."""
        data = self.submit(prompt).raise_for_status().json()["data"]
        return str(data["ids"][0] if self.provider == "bloom" else data[ID[self.provider]])

    def page(self, **query: Any) -> httpx.Response:
        """Ask for one page of the list."""
        return self.web.get(f"{self.sim.url}/{_ROWS[self.provider]}", params=query, headers=self.headers)

    def rows(self, **query: Any) -> list[dict[str, Any]]:
        """Return the rows of one page of the list."""
        data = self.page(**query).raise_for_status().json()["data"]
        found = data if self.provider == "banatie" else data["images" if self.provider == "bloom" else "items"]
        return [dict(row) for row in found]

    def listed(self, **query: Any) -> list[str]:
        """Return the ids of one page of the list."""
        return [row[ID[self.provider]] for row in self.rows(**query)]

    def get(self, item: str) -> httpx.Response:
        """Ask for one row by its id."""
        return self.web.get(f"{self.sim.url}/{_ROWS[self.provider]}/{item}", headers=self.headers)

    def row(self, item: str) -> dict[str, Any]:
        """Return one row by its id."""
        return dict(self.get(item).raise_for_status().json()["data"])

    def walked(self, limit: int) -> list[str]:
        """Return the ids of the whole list, page after page as the provider's own pagination says."""
        seen: list[str] = []
        query: dict[str, Any] = {"limit": limit}
        while True:
            page = self.listed(**query)
            seen += page
            if self.provider == "bloom":
                cursor = self.page(**query).json()["data"]["nextCursor"]
                if cursor is None:
                    return seen
                query["cursor"] = cursor
            elif page:
                query["offset"] = len(seen)
            else:
                return seen
