"""The result of one attempt to pay, as values: the answer, and the images that it bought."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from shared.lifecycle import ImageState, Outcome

_OWN_LINK: Final = "reply:"  # into an answer that we keep


@dataclass(frozen=True, slots=True)
class BoughtImage:
    """One image that an accepted submission bought, as the provider described it."""

    index: int
    state: ImageState
    upstream_id: str | None = None
    link: str | None = None
    link_expires_at: datetime | None = None
    error_code: str | None = None
    error: str | None = None
    stated: tuple[int, int] | None = None
    """The width and height that the provider states, in pixels."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one attempt to pay. `settled` is the provider's own figure, if it gave one.

    `elsewhere` is the cost at another bill; None = an unknown amount. `inferred`: the result comes from a person or
    from the provider's list; the provider's own answer replaces it. `quiet_seconds`: the sender knows that its call is
    over; this is the time from now until its purchase would show. `cost_stated`: the provider stated `settled` in a
    whole answer. `charged_on_arrival`: the provider charges as the answer arrives, so the quiet time begins when the
    call is over, not when it was sent.
    """

    outcome: Outcome
    http_status: int | None = None
    upstream_id: str | None = None
    error_code: str | None = None
    error: str | None = None
    settled: Decimal | None = None
    elsewhere: Decimal | None = Decimal(0)
    images: tuple[BoughtImage, ...] = field(default=())
    inferred: bool = False
    quiet_seconds: float | None = None
    cost_stated: bool = False
    charged_on_arrival: bool = False
    unowned: tuple[BoughtImage, ...] = field(default=())
    """The images in the answer beyond those that were asked for."""
    left_out: int = 0
    """The number of entries of the answer that were not read."""

    @property
    def links_sha256(self) -> bytes | None:
        """The hash of the links that it gives; None without any. A link itself is forgotten once its image is stored.

        Links into answers that we keep are none: such an answer has a hash of its own.
        """
        links = [image.link for image in self.images if image.link and not image.link.startswith(_OWN_LINK)]
        return hashlib.sha256("\n".join(links).encode()).digest() if links else None

    @property
    def ids(self) -> set[str]:
        """Every upstream id that the answer names."""
        named = (self.upstream_id, *(image.upstream_id for image in (*self.images, *self.unowned)))
        return set(filter(None, named))
