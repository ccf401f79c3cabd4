"""Whether bytes are one complete image of a known kind, judged by structure, without decoding a pixel."""

from worker.imagecheck.inspection import check
from worker.imagecheck.verdict import ImageError, ImageFacts, IncompleteImage, NotAnImage, TooManyPixels

__all__ = ["ImageError", "ImageFacts", "IncompleteImage", "NotAnImage", "TooManyPixels", "check"]
