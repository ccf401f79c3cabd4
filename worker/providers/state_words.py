"""What a provider's word for the state of a picture means, also in another case or where its document lacks it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from shared.lifecycle import IMAGE_UNFINISHED, ImageState
from worker.providers.wording import line_of

ABSENT: Final = object()
"""In the place of a word: the answer has no such field."""
_WORD_CHARS: Final = 60
# Words of no document of ours. A link beside one of these may lead to a preview, or to nothing yet.
_NO_END: Final = re.compile(
    "[a-z_]*ing|(en)?queued|in_?(queue|progress)|created|submitted|accepted|started|scheduled|new|draft|partial|preview|"
    "delayed|paused|retry|throttled|error(ed)?|failure|cancell?ed|rejected|refused|blocked|aborted|expired|deleted|"
    "time(out|d_out)|moderated|nsfw"
)


@dataclass(frozen=True, slots=True)
class Told:
    """The state that a word tells; `unknown` is the word itself where no document of ours has it, empty for none."""

    state: ImageState
    unknown: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the picture is not finished."""
        return self.state in IMAGE_UNFINISHED


def told(word: Any, known: Mapping[str, ImageState], *, linked: bool, key: SecretStr) -> Told:
    """Return what `word` tells, by the words that its document has, whatever their case.

    A word that nobody knows is work in progress, and the job's own bound ends it; beside a link it is the end, unless
    it sounds unfinished or failed: a document may rename a state, and what it names is paid for. So is a link where
    the state is `ABSENT`. Anything else that is no word may say that it is unfinished.
    """
    if word is ABSENT:
        return Told(ImageState.READY) if linked else Told(ImageState.PROCESSING, "")
    if not isinstance(word, str):
        return Told(ImageState.PROCESSING, "")
    said = _plain(word)
    if said in known:
        return Told(known[said])
    ends = linked and bool(said) and not sounds_open(word)
    shown = line_of(word, key, most=_WORD_CHARS) or ""
    return Told(ImageState.READY if ends else ImageState.PROCESSING, shown)


def sounds_open(word: str) -> bool:
    """Tell whether a word of no document of ours sounds unfinished or failed."""
    return _NO_END.fullmatch(_plain(word)) is not None


def _plain(word: str) -> str:
    return word.strip().casefold().replace("-", "_").replace(" ", "_")
