"""A batch's pictures as one HTML file that needs nothing else: thumbnails and styles are inside it."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ops.dashboard import words
from ops.dashboard.thumbnails import DECODED
from ops.downloading import file_name

_DASHBOARD: Final = Path(__file__).parent / "dashboard"
_NAME: Final = re.compile(r"images/[^/]+/\d+-([0-9a-f]{64})\.([a-z0-9]+)")


@dataclass(frozen=True, slots=True)
class GalleryOptions:
    """What a gallery shows. `originals`: each picture leads to the file that `genqueue download` writes beside it."""

    batch: str
    prompts: bool = True
    costs: bool = False
    originals: bool = False


class Shot(NamedTuple):
    """One picture: its thumbnail as a `data:` URL, "" without one; the file that it leads to, "" for none."""

    thumbnail: str
    file: str
    words: str


def write_gallery(
    jobs: Iterable[Mapping[str, Any]], file: Path, options: GalleryOptions, thumbnail: Callable[[str, str], bytes]
) -> int:
    """Write the page to `file` and return the number of pictures in it.

    `jobs` are as `Client.pictured` yields them; `thumbnail` returns the WebP image of an object (key, SHA-256). It is
    written as it is made. Raises what `thumbnail` raises, and `OSError`.
    """
    count = 0

    def shown() -> Iterator[tuple[Mapping[str, Any], list[Shot]]]:
        nonlocal count
        for job in jobs:
            shots = [_shot(job, picture, options, thumbnail) for picture in job["pictures"]]
            count += sum(bool(shot.thumbnail) for shot in shots)
            yield job, shots

    style = Markup((_DASHBOARD / "static" / "style.css").read_text("utf-8"))  # noqa: S704 - a file of ours
    template = _templates().get_template("gallery.html")
    part = file.with_name(file.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as page:
            page.writelines(template.generate(jobs=shown(), options=options, style=style))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return count


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_DASHBOARD / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=words.visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= words.FILTERS
    return environment


def _shot(
    job: Mapping[str, Any],
    picture: Mapping[str, Any],
    options: GalleryOptions,
    thumbnail: Callable[[str, str], bytes],
) -> Shot:
    named = _NAME.fullmatch(str(picture["key"] or ""))
    said = picture["image_error"] or words.image_state(picture["image_state"]).word
    if named is None:
        return Shot("", "", "kept, unverified" if picture["key"] else said)
    small = thumbnail(str(picture["key"]), named[1]) if named[2] in DECODED else b""
    row = {"custom_id": job["custom_id"], "index": picture["index"], "sha256": named[1], "key": picture["key"]}
    url = f"data:image/webp;base64,{base64.b64encode(small).decode()}" if small else ""
    return Shot(url, file_name(row) if options.originals else "", "no thumbnail")
