"""The brands of the simulated Bloom: one that is ready, and one for each way of not being so."""

from typing import Any

READY_BRAND = "11111111-1111-4111-8111-111111111111"
WORKSPACE_NAME = "Personal"

BRANDS: dict[str, str] = {
    READY_BRAND: "ready",
    "22222222-2222-4222-8222-222222222222": "analyzing",
    "33333333-3333-4333-8333-333333333333": "logo_required",
    "44444444-4444-4444-8444-444444444444": "failed",
}
# Submitting to a brand in one of these states is refused with this code.
REFUSALS = {
    "analyzing": "BRAND_NOT_READY",
    "logo_required": "SESSION_MISSING_BRAND_IMAGE",
    "failed": "BRAND_NOT_READY",
}


def brand_json(brand_id: str, image_count: int) -> dict[str, Any]:
    """Return a brand as ``GET /brands`` lists it."""
    status = BRANDS[brand_id]
    return {
        "id": brand_id,
        "name": f"Simulated brand ({status})",
        "url": "https://brand.example",
        "status": status,
        "imageCount": image_count,
        "workspaceId": None,
        "workspaceName": WORKSPACE_NAME,
        "createdAt": "2026-01-01T00:00:00.000Z",
    }
