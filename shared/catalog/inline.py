"""Reference images that travel inside a request: links, or whole images as base64 data URLs (RFC 2397)."""

import base64
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from shared.requests import GenerationRequest, RequestFault

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_DATA_URL: Final = re.compile(r"data:image/([a-z]+);base64,")
_URL_CHARS: Final = re.compile(r"[!-~]+")
_NAMES: Final = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "gif": "GIF"}


def image_kind(data: bytes) -> str | None:
    """Return png, jpeg, webp or gif by the first bytes of a file, None if it is none of them."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return "gif" if data.startswith((b"GIF87a", b"GIF89a")) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineImages:
    """What one provider takes: `schemes` of links, `kinds` of images; limits in bytes.

    `image_max_bytes` is of one image, decoded; `body_max_bytes` of the whole JSON body.
    """

    title: str
    schemes: tuple[str, ...]
    kinds: tuple[str, ...]
    image_max_bytes: int
    body_max_bytes: int

    def complaint(self, reference: str) -> str | None:
        """Say why a reference is neither a link nor a data URL that fits; None if it is one."""
        if reference.startswith("data:"):
            return self._data_url_complaint(reference)
        try:
            url = urlsplit(reference)
            fine = url.scheme in self.schemes and bool(url.hostname) and _URL_CHARS.fullmatch(reference)
        except ValueError:
            fine = False
        return None if fine else f"must be an {' or '.join(self.schemes)} URL or a data URL"

    def body_fault(self, request: GenerationRequest) -> RequestFault | None:
        """Return the fault of references that are together too large for one call; None if they fit."""
        # Four bytes a character is the most that UTF-8 needs.
        total = sum(map(len, request.references)) + 4 * len(request.prompt)
        if total <= self.body_max_bytes:
            return None
        return RequestFault("references", f"make the request larger than {self.body_max_bytes} bytes ({self.title})")

    def data_url(self, data: bytes) -> str:
        """Return an image file's bytes as a data URL; raises `ValueError` with a complaint if it does not fit."""
        if len(data) > self.image_max_bytes:
            raise ValueError(f"has more than {self.image_max_bytes} bytes, the limit of {self.title}")
        kind = image_kind(data)
        if kind not in self.kinds:
            raise ValueError(f"is no {self._kinds()} image; {self.title} takes no other")
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

    def _kinds(self) -> str:
        *most, last = (_NAMES[kind] for kind in self.kinds)
        return f"{', '.join(most)} or {last}"

    def _data_url_complaint(self, reference: str) -> str | None:
        head = _DATA_URL.match(reference)
        if not head or head[1] not in self.kinds:
            return f"must be a base64 data URL of a {self._kinds()} image"
        digits = len(reference) - head.end()
        if digits % 4 or not _BASE64.fullmatch(reference, head.end()):
            return "is not valid base64"
        size = digits // 4 * 3 - reference[-2:].count("=")
        if size > self.image_max_bytes:
            return f"has {size} bytes decoded; the limit is {self.image_max_bytes}"
        return None
