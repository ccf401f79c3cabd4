"""The gaps in which a worker may die: which there are, which a kind of provider lacks and why, and how one is armed.

A gap is armed by a file in a directory that every worker of the site looks into when it passes: `GAP.SUBJECT`, where
the subject is a job's id, an account, or `any`. Whoever passes takes the file by renaming it, so each strikes once.
"""

import os
import signal
import time
from pathlib import Path
from typing import Final

import anyio.to_thread
from structlog.contextvars import get_contextvars

PROVIDERS: Final = ("bloom", "banatie", "getimg", "openrouter", "posteverywhere")
GAPS: Final = {
    "before_post": "the intent is committed, not a byte has left",
    "after_request_left": "the request is written, nothing of the answer is read",
    "after_reply": "the answer is in memory, nothing is committed",
    "after_keep": "the answer lies in the bucket, nothing is committed",
    "after_commit": "the evidence is committed, the next stage has not begun",
    "mid_download": "the picture is on its way",
    "after_put": "the object is stored, its row is not written",
    "before_final_write": "every picture is stored, the job's end is not written",
}
_NOT_KEPT: Final = "its answer holds an id or a link: nothing is kept of it"
ABSENT: Final = {("after_keep", provider): _NOT_KEPT for provider in PROVIDERS if provider != "openrouter"}
"""The gaps that a kind does not have, with the reason. OpenRouter's download is the taking out of a kept answer."""
CASES: Final = [(gap, provider) for gap in GAPS for provider in PROVIDERS if (gap, provider) not in ABSENT]

_REACHES_PROVIDER_SECONDS: Final = 0.2  # what was written has left when its process dies; the provider must read it
_LOOK_SECONDS: Final = 0.01


class Points:
    """The directory of what is armed. Workers call `pass_by`, whoever breaks them `arm`, `armed` and `fired`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def arm(self, gap: str, subject: str = "any", *, how: str = "kill") -> None:
        """Have the next worker that passes `gap` for `subject` die ("kill") or stop ("stop") there.

        With "together" it waits there until nothing is armed any more, and dies then: one death for many gaps.
        """
        draft = self._directory / f".{gap}.{subject}"
        draft.write_text(how)
        draft.rename(self._directory / f"{gap}.{subject}")

    def disarm(self) -> int:
        """Take back everything that has not struck; return how many there were."""
        found = self.armed()
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def armed(self) -> list[Path]:
        """Return what has not struck yet."""
        return [path for path in self._directory.glob("*.*") if path.name.count(".") == 1]

    def fired(self) -> list[tuple[str, str, int]]:
        """Return gap, subject and process of everything that has struck."""
        names = (path.name.split(".") for path in self._directory.glob("*.*.*"))
        return [(name[0], name[1], int(name[2])) for name in names if name[0]]

    async def pass_by(self, gap: str) -> None:
        """Die here if that is asked of whoever passes."""
        if how := self._taken(gap):
            # No timeout reaches a thread: who waits for others to die with stands still.
            await anyio.to_thread.run_sync(self._end, gap, how)

    def pass_by_in_thread(self, gap: str) -> None:
        """As `pass_by`, for code that blocks."""
        if how := self._taken(gap):
            self._end(gap, how)

    def _end(self, gap: str, how: str) -> None:
        while how == "together" and self.armed():
            time.sleep(_LOOK_SECONDS)
        if gap == "after_request_left":
            time.sleep(_REACHES_PROVIDER_SECONDS)
        os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)

    def _taken(self, gap: str) -> str:
        bound = get_contextvars()
        for subject in (str(bound.get("job")), str(bound.get("account")), "any"):
            taken = self._directory / f"{gap}.{subject}.{os.getpid()}"
            try:
                (self._directory / f"{gap}.{subject}").rename(taken)
            except FileNotFoundError:
                continue
            return taken.read_text()
        return ""
