"""What the embedded stack raises: one line that names what failed, where, and what to do about it.

StackError
├── HomeBusyError     another process owns this home
└── EndedEarlyError   a service ended before it answered
"""


class StackError(Exception):
    """The embedded services cannot run; the message is one line for the person who meets it."""


class HomeBusyError(StackError):
    """Another process holds the lock of this home."""


class EndedEarlyError(StackError):
    """A service ended before it was ready; the message carries the last lines of its log."""
