"""What a download delivers: the picture as it was sold, or what the request's fault makes of it."""

import io
from dataclasses import replace

import anyio.to_thread
from PIL import Image

from ops.simulator.exchange import Exchange
from ops.simulator.faults import StagedFault
from ops.simulator.gallery import HTML_PAGE, DrawnPicture, Gallery
from ops.simulator.pictures import Sketch, draw, draw_svg
from ops.simulator.replies import SimulatedReply
from ops.simulator.world import World

_TYPES = {
    "svg": "image/svg+xml",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "html": "text/html",
    "text": "text/plain",
}
_TRAILING = b"trailing "


async def download(world: World, exchange: Exchange, picture: DrawnPicture) -> SimulatedReply:
    """Return the reply that delivers ``picture``, and count it."""
    picture.downloads += 1
    content, content_type = await file_of(world.gallery, exchange.fault, picture)
    return SimulatedReply(200, content, content_type)


async def file_of(gallery: Gallery, fault: StagedFault | None, picture: DrawnPicture) -> tuple[bytes, str]:
    """Return bytes and media type of ``picture`` as ``fault`` leaves them."""
    if fault is not None and fault.kind == "mime":
        return await anyio.to_thread.run_sync(_drawn_as, fault.format, picture.sketch), _TYPES[fault.format]
    content = await gallery.file(picture)
    if fault is not None and fault.kind == "trailing_bytes":
        content += (_TRAILING * (fault.size // len(_TRAILING) + 1))[: fault.size]
    return content, picture.content_type


def _drawn_as(form: str, sketch: Sketch) -> bytes:
    if form == "svg":
        return draw_svg(sketch)
    if form == "html":
        return HTML_PAGE
    if form == "text":
        return b"The image is not available at the moment.\n"
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(draw(replace(sketch, image_format="png", transparent=False)))) as image:
        image.convert("RGB").save(buffer, form.upper())
    return buffer.getvalue()
