"""An answer that is too long to be held in memory, on its way to the disk; nothing is opened for a shorter one."""

from typing import Final
from uuid import UUID

from worker.evidence.replies import Replies
from worker.evidence.reply_file import ReplyFile


class Spill:
    """A `Sink` for the whole of such an answer. It is written to in a thread, because it opens a file."""

    slow: Final = True

    def __init__(self, replies: Replies, submission_id: UUID) -> None:
        self._replies = replies
        self._submission_id = submission_id
        self.reply: ReplyFile | None = None

    def write(self, chunk: bytes) -> None:
        """Append `chunk`; raises `TooLarge`, `SpoolFull` or `SpoolError`."""
        if self.reply is None:
            self.reply = self._replies.begin(self._submission_id)
        self.reply.write(chunk)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self.reply is not None:
            self.reply.close()
