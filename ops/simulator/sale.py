"""What an accepted request costs: at once, or only when its reply has been delivered."""

from dataclasses import dataclass
from decimal import Decimal

from ops.simulator.gallery import Picture


@dataclass(frozen=True, slots=True)
class Charge:
    """What an accepted request is to cost: ``amount`` in ``unit`` for ``upstream_ids``."""

    submission_id: str
    upstream_ids: tuple[str, ...]
    amount: Decimal
    unit: str


@dataclass(slots=True)
class Sale:
    """A charge that is held until the last byte of the reply is written, and the pictures sold by it."""

    charge: Charge
    pictures: tuple[Picture, ...]
    held: bool = True
