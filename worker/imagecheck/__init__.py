"""Whether bytes are one complete image of a known kind: by structure, and by decoding what is doubtful."""

from worker.imagecheck.inspection import begins_as_image, check
from worker.imagecheck.verdict import (
    ImageError,
    ImageFacts,
    IncompleteImage,
    NotAnImage,
    TooManyPixels,
    Undecidable,
)

__all__ = [
    "ImageError",
    "ImageFacts",
    "IncompleteImage",
    "NotAnImage",
    "TooManyPixels",
    "Undecidable",
    "begins_as_image",
    "check",
]
