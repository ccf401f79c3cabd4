"""What an accepted request costs: at once, or only when its reply has been delivered."""

from dataclasses import dataclass
from decimal import Decimal

from ops.simulator.gallery import DrawnPicture


@dataclass(frozen=True, slots=True)
class Charge:
    """What an accepted request is to cost: ``amount`` in ``unit`` for ``upstream_ids``.

    With ``byok`` it is paid to whom the provider's own key belongs, and the account's balance stays.
    """

    submission_id: str
    upstream_ids: tuple[str, ...]
    amount: Decimal
    unit: str
    byok: bool = False

    @property
    def drawn(self) -> Decimal:
        """What comes off the account's balance."""
        return Decimal(0) if self.byok else self.amount


@dataclass(slots=True)
class Sale:
    """A charge that is held until the last byte of the reply is written, and the pictures sold by it."""

    charge: Charge
    pictures: tuple[DrawnPicture, ...]
    held: bool = True
