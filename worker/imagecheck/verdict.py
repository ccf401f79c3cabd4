"""What a check finds: the facts of a complete image, or why it is none.

    TransferError (worker.transport.spool)                                           code                again?
    `-- ImageError                the bytes are not a verified image
        |-- NotAnImage            another kind of file, or not well formed  result_invalid      yes
        |   `-- Undecidable       nothing here can tell whether it is whole result_invalid      yes
        |-- TooSmall              far smaller than its provider states      result_invalid      yes
        |-- IncompleteImage       cut short or damaged on the way           result_incomplete   yes
        |-- UnsureLink            perhaps another picture than was bought   result_invalid      no
        `-- TooManyPixels         larger than the cap                       result_too_large    no

"Again" (`retryable`) means that fetching the bytes once more may help: a server's "please wait" page is no
image either. Messages describe the bytes and never quote them.
"""

# ruff: noqa: N818 - an error is named for what the bytes are

from dataclasses import dataclass

from worker.transport.spool import TransferError


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the bytes are: kind such as "png", media type, file extension without a dot, size in pixels.

    The size is None where nothing states it. `attached`: the object is only ever offered as a download, never shown
    in place.
    """

    kind: str
    content_type: str
    extension: str
    width: int | None = None
    height: int | None = None
    attached: bool = False


class ImageError(TransferError):
    """The bytes are not an image that is verified.

    `begins_as` says what kind of image they begin as; None where they are no image at all.
    """

    code = "result_invalid"
    retryable = True
    begins_as: ImageFacts | None = None


class NotAnImage(ImageError):
    """The bytes are another kind of file, or break the rules of their own format."""


class Undecidable(NotAnImage):
    """The bytes may be a complete image; no decoder here can tell, or none in reasonable time."""


class IncompleteImage(ImageError):
    """The bytes begin as an image and are cut short or damaged."""

    code = "result_incomplete"


class TooManyPixels(ImageError):
    """The image is larger than the cap on width times height."""

    code = "result_too_large"
    retryable = False


class UnsureLink(ImageError):
    """A whole image that may be another one than was bought: its link was only seen in an answer nobody could read."""

    retryable = False


class TooSmall(ImageError):
    """A whole image that is far smaller than its provider states: a placeholder for one that is still to come."""


@dataclass(frozen=True, slots=True)
class Size:
    """The width and height that a file's header declares, in pixels."""

    width: int
    height: int

    def within(self, max_pixels: int) -> "Size":
        """Return the size itself; raises `NotAnImage` for an empty one, `TooManyPixels` above the cap."""
        if self.width < 1 or self.height < 1:
            raise NotAnImage(f"an image of {self.width} x {self.height} pixels")
        if self.width * self.height > max_pixels:
            raise TooManyPixels(f"{self.width} x {self.height} pixels, more than {max_pixels}")
        return self
