"""Reference images that are local files: read when their row is, typed by their bytes, sent inside the request."""

import re
from pathlib import Path
from typing import Final

from shared.catalog import Provider
from shared.requests import GenerationRequest, RequestFault

# As data URLs, over one prompt file: each of them is a row's own in the database.
LOCAL_TOTAL_MAX_CHARS: Final = 2**30
# Two letters at least: C:\picture.png is a file.
_SCHEME: Final = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+:", re.IGNORECASE)


class LocalFiles:
    """Reads the local files that rows refer to, with paths relative to `folder`; None = such a row is at fault."""

    def __init__(self, folder: Path | None, total_max_chars: int = LOCAL_TOTAL_MAX_CHARS) -> None:
        self._folder = folder
        self._left = total_max_chars

    def resolve(self, request: GenerationRequest, provider: Provider) -> tuple[GenerationRequest, list[RequestFault]]:
        """Return the request with data URLs for its local files, and a fault for each that cannot be one.

        A provider that takes no images inside a request has its own words for a reference that it cannot use.
        """
        local = [_SCHEME.match(reference) is None for reference in request.references]
        if provider.inline is None or not any(local):
            return request, []
        references, faults = [], []
        for position, (reference, is_local) in enumerate(zip(request.references, local, strict=True), 1):
            try:
                references.append(self._data_url(reference, provider) if is_local else reference)
            except ValueError as error:
                faults.append(RequestFault("references", f"item {position} {error}"))
        return request.model_copy(update={"references": tuple(references)}), faults

    def _data_url(self, reference: str, provider: Provider) -> str:
        """Raise `ValueError` with the complaint, which never names the file: it may be a mistyped link."""
        assert provider.inline is not None
        if self._folder is None:
            raise ValueError("is a local file, which only the command line reads; give a URL")
        if reference.lower().startswith("file:"):
            raise ValueError("is a file URL; write the path alone")
        path = self._folder / reference
        try:
            if not path.is_file():
                raise ValueError("is no file; a path is relative to the prompt file's folder")
            with path.open("rb") as file:
                data = file.read(provider.inline.image_max_bytes + 1)
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror or type(error).__name__}") from None
        url = provider.inline.data_url(data)
        self._left -= len(url)
        if self._left < 0:
            raise ValueError("is one local file too many for this prompt file; upload them and give URLs")
        return url
