"""Decides about bytes that came in an image's place and do not pass the check: kept or not, and the image's end."""

from dataclasses import dataclass

from shared.images import ClaimedImage, ImageChange
from shared.lifecycle import ImageState
from shared.notes import short_note
from shared.settings import Settings
from worker.imagecheck import UNKNOWN, ImageError, ImageFacts, TooManyPixels, TooSmall


@dataclass(frozen=True, slots=True)
class RefusedBytes:
    """What one download of one image gave, and why it is no verified image."""

    image: ClaimedImage
    error: ImageError
    sha256: str
    length: int
    fixed: bool
    """Whether they come from a kept answer: then they cannot change."""

    @property
    def begins_as(self) -> ImageFacts | None:
        """What image they begin as; None for a placeholder too, because the image that it stands for may still come."""
        return None if isinstance(self.error, TooSmall) else self.error.begins_as

    @property
    def are_doubtful(self) -> bool:
        """Whether they may hold an image all the same. Only the first doubtful bytes of an image are kept."""
        return self.begins_as is None and self.length > 0 and self.image.refused_sha256 is None

    @property
    def came_before(self) -> bool:
        """Whether the download before gave the same. A page that asks the client to wait is the same each time."""
        return self.begins_as is not None and bytes.fromhex(self.sha256) == self.image.refused_sha256

    def kept_as(self, *, may_hold_image: bool) -> ImageFacts | None:
        """Return what they are kept as, or None; `may_hold_image`: their beginning looks as if it held one."""
        if not self.are_doubtful:
            return self.begins_as
        return self.error.begins_as or (UNKNOWN if may_hold_image else None)


def image_after_refused_bytes(settings: Settings, refused: RefusedBytes, key: str | None) -> ImageChange | None:
    """Return the end of an image; None while another download may bring better bytes. `key`: where these are kept."""
    image, error = refused.image, refused.error
    tries = image.tries + 1
    tried_out = refused.begins_as is not None and tries >= settings.fetch_tries
    if error.retryable and not (refused.fixed or refused.came_before or tried_out):
        return None
    code, note = error.code, str(error)
    if key is not None:
        code = code if isinstance(error, TooManyPixels) else "result_unverified"
        note = f"{note}; kept as {key}"
    failed = ImageState.FAILED
    return ImageChange(
        image.claim, image.index, image.upstream_id, failed, tries=tries, error_code=code, error=short_note(note)
    )
