"""The models of the simulated getimg and their prices.

``seedream-5-lite`` is the one that the vendor's guide names; its real price is not documented, and the two
``sim-`` models are made up, one for a single resolution and one whose price depends on it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_COMMON_RATIOS = ("1:1", "16:9", "9:16", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "21:9")


@dataclass(frozen=True, slots=True)
class GetimgModel:
    """One model; ``prices``: USD per image by resolution. The first ratio and resolution are the defaults."""

    id: str
    name: str
    ratios: tuple[str, ...]
    prices: dict[str, Decimal]
    most_references: int

    def as_json(self) -> dict[str, Any]:
        """Return the model as ``GET /v2/models/{id}`` does, rates ordered by price."""
        flat = len(set(self.prices.values())) == 1
        rows: dict[str | None, Decimal] = (
            dict.fromkeys([None], next(iter(self.prices.values()))) if flat else dict(self.prices.items())
        )
        rates = [
            {
                "billable_unit": "image",
                "resolution": size,
                "sound": "not_applicable",
                "unit_price": str(price),
            }
            for size, price in sorted(rows.items(), key=lambda row: row[1])
        ]
        return {
            "id": self.id,
            "name": self.name,
            "type": "image",
            "created_at": "2026-01-01T00:00:00.000Z",
            "pricing": {"currency": "USD", "rates": rates},
            "supported_aspect_ratios": list(self.ratios),
            "supported_resolutions": list(self.prices),
            "supported_durations": [],
            "supported_references": {"reference_image": self.most_references},
            "supports_sound": False,
        }


MODELS = {
    model.id: model
    for model in (
        GetimgModel(
            "seedream-5-lite",
            "Seedream 5 Lite",
            _COMMON_RATIOS,
            {"2K": Decimal("0.035"), "1K": Decimal("0.035"), "4K": Decimal("0.035")},
            14,
        ),
        GetimgModel("sim-draft", "Simulated draft", ("1:1", "16:9", "9:16"), {"1K": Decimal("0.01")}, 0),
        GetimgModel(
            "sim-photo",
            "Simulated photo",
            _COMMON_RATIOS,
            {"1K": Decimal("0.04"), "2K": Decimal("0.06"), "4K": Decimal("0.12")},
            4,
        ),
    )
}
