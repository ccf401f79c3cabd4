"""What bytes that are no known image seem to be, said in words for the person who reads the error."""

from typing import Final

_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF-", "a PDF document"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
)


def describe(head: bytes) -> str:
    """Return a description of a file that begins with `head`; never quotes it."""
    if not head:
        return "an empty file"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return "an MP4 or similar video"
    return _describe_text(head) if is_text(head) else "data of an unknown kind"


def _describe_text(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if text.startswith(b"<"):
        return "an XML or HTML document"
    return "a JSON document" if text.startswith((b"{", b"[")) else "plain text"


def is_text(head: bytes) -> bool:
    """Tell whether `head`, the beginning of a file, is text in UTF-8."""
    # The last character may be cut in the middle.
    decoded = head.decode("utf-8-sig", errors="ignore")
    whole = len(decoded.encode()) >= len(head) - 3
    return whole and all(character.isprintable() or character in "\t\r\n\f" for character in decoded)
