"""Pictures: thumbnails for lists, and originals for whoever asks for one."""

from collections.abc import Iterator
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ops.dashboard.page import needs, of
from ops.dashboard.sessions import Right
from ops.dashboard.thumbnails import DECODED
from worker.transport.storage import key_for

_BLOCK: Final = 256 * 1024
_FOR_EVER: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
}


class PictureName:
    """An image as a path names it: `JOB/INDEX-SHA256.EXTENSION`, which is the end of its key in the bucket.

    Raises `HTTPException` for what is no such name.
    """

    def __init__(self, request: Request) -> None:
        name = str(request.path_params["name"])
        index, _, rest = name.partition("-")
        self.sha256, _, self.extension = rest.partition(".")
        verified = "unverified" not in request.query_params
        try:
            self.key = key_for(
                str(request.path_params["job"]), int(index), self.sha256, self.extension, verified=verified
            )
        except ValueError:
            raise HTTPException(404, "there is no such picture") from None
        self.is_shown = verified and self.extension in DECODED


def link(picture: dict[str, Any]) -> tuple[str, bool] | None:
    """Return the path of an image after `/original/` or `/thumbnail/`, and whether it is verified; None without one."""
    place, _, path = str(picture["key"] or "").partition("/")
    return (path, place == "images") if path and place in {"images", "unverified"} else None


@needs(Right.PICTURES)
def thumbnail(request: Request) -> Response:
    """Return the thumbnail of a verified image; 404 if there is none."""
    picture = PictureName(request)
    dashboard = of(request)
    small = b""
    if picture.is_shown and dashboard.reads.pictures_there([picture.key]):  # its file outlives an erasure for a while
        small = dashboard.thumbnails.get(picture.key, picture.sha256)
    if not small:
        raise HTTPException(404, "there is no thumbnail of this picture")
    return Response(small, media_type="image/webp", headers=_FOR_EVER)


@needs(Right.PICTURES)
def original(request: Request) -> Response:
    """Return an image as it lies in the bucket; a browser shows only verified ones of known kinds."""
    picture, storage = PictureName(request), of(request).storage
    if storage is None:
        raise HTTPException(404, "this dashboard has no bucket")
    facts = storage.head(picture.key)
    if facts is None:
        raise HTTPException(404, "there is no such picture")
    headers = {**_FOR_EVER, "Content-Length": str(facts.length)}
    if not picture.is_shown:
        headers["Content-Disposition"] = f'attachment; filename="{picture.sha256[:16]}.{picture.extension}"'
    kind = _TYPES[picture.extension] if picture.is_shown else "application/octet-stream"
    return StreamingResponse(_blocks(storage.open(picture.key)), media_type=kind, headers=headers)


def _blocks(stream: Any) -> Iterator[bytes]:
    try:
        while block := stream.read(_BLOCK):
            yield block
    finally:
        stream.close()
