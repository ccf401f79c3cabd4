"""Whether bytes are one complete image of a known kind: by structure, and by decoding what is doubtful."""

from worker.imagecheck.inspection import begins_as_image, check
from worker.imagecheck.verdict import (
    ImageError,
    ImageFacts,
    IncompleteImage,
    NotAnImage,
    TooManyPixels,
    TooSmall,
    Undecidable,
    UnsureLink,
)
from worker.imagecheck.wrapping import UNKNOWN, may_hold_image, unwrap

__all__ = [
    "UNKNOWN",
    "ImageError",
    "ImageFacts",
    "IncompleteImage",
    "NotAnImage",
    "TooManyPixels",
    "TooSmall",
    "Undecidable",
    "UnsureLink",
    "begins_as_image",
    "check",
    "may_hold_image",
    "unwrap",
]
