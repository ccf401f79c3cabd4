"""An image of a claimed job, and a requested change of it: the types that decisions and writes share."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from shared.lifecycle import ImageState, JobState
from shared.moves import Claim


@dataclass(frozen=True, slots=True)
class ClaimedImage:
    """One image of a claimed job, as its row was at `read_at` (monotonic seconds)."""

    claim: Claim
    job_state: JobState
    job_tries: int
    batch_id: UUID
    given_up: bool
    """Whether the collection deadline has passed."""
    index: int
    upstream_id: str | None
    state: ImageState
    link: str | None
    link_expires_at: datetime | None
    link_seconds: float | None
    """Seconds until the link expires, as of `read_at`. The link is tried even after that, because clocks differ."""
    tries: int
    error_code: str | None
    error: str | None
    lacking_looks: int
    """How many looks in a row said the same of it: missing, failed, or without a link. 0 if the last one was sure."""
    lacking_seconds: float
    """Since the first of these looks."""
    lacking_clock: str
    """When that was (UTC)."""
    others_found: bool
    """Whether another image of the account was found since."""
    short_sha256: bytes | None
    """The hash of the last body that was shorter than announced."""
    refused_sha256: bytes | None
    """The hash of the image's last bytes that did not pass the check."""
    model: str
    """The model that its job asked for; empty if it named none."""
    age_seconds: float
    """Since its purchase, as of `read_at`."""
    submission_id: UUID
    """The attempt that bought it."""
    key_id: str | None
    """The key that bought it, by its id; None if that was not recorded."""
    stated_width: int | None
    stated_height: int | None
    """Its size as its provider states it, in pixels."""
    read_at: float = field(default_factory=time.monotonic)

    @property
    def link_left(self) -> float | None:
        """Seconds that the link still lives; negative after its expiry, None if that is unknown."""
        return None if self.link_seconds is None else self.link_seconds - (time.monotonic() - self.read_at)


@dataclass(frozen=True, slots=True)
class ImageChange:
    """What one look or one failed download found for one image. `stored_images.store` writes one that was stored.

    Only the job's claimant may write it. Without a new `link`, the known link stays.
    """

    claim: Claim
    index: int
    upstream_id: str | None
    """The id that was asked about: late evidence may give the row to another image meanwhile."""
    state: ImageState
    link: str | None = None
    link_expires_at: datetime | None = None
    tries: int = 0
    error_code: str | None = None
    error: str | None = None
    lacking_looks: int = 0
    """The number of looks in a row that said the same and are not believed yet; 1 starts the count."""
    short_sha256: bytes | None = None
    """The hash of a body that was shorter than announced, to recognise it later."""
    stated: tuple[int, int] | None = None
    """The width and height that the provider states, in pixels; they come with a `link`."""
