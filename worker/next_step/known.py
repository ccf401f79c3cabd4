"""The facts that a decision needs of images, paid calls and jobs in doubt, as protocols that rows and answers fit."""

from datetime import datetime
from typing import Protocol

from shared.lifecycle import ImageState, JobState, Outcome
from shared.moves import Claim


class Picture(Protocol):
    """The part of an image that a decision needs."""

    @property
    def state(self) -> ImageState:
        """Where it stands."""
        ...

    @property
    def error_code(self) -> str | None:
        """The code for why it did not come, or for what it waits for."""
        ...

    @property
    def error(self) -> str | None:
        """The same in words."""
        ...


class CopiedPicture(Picture, Protocol):
    """An image that was copied, or could not be."""

    @property
    def asked(self) -> bool:
        """Whether its job asked for it; a provider may give more."""
        ...


class LinkedPicture(Picture, Protocol):
    """An image whose link may expire."""

    @property
    def link_expires_at(self) -> datetime | None:
        """When its link expires; None if that is unknown or there is no link."""
        ...


class LookedPicture(LinkedPicture, Protocol):
    """An image that its provider was asked for."""

    @property
    def lacking_looks(self) -> int:
        """How many looks in a row found it missing; 0 if it is there."""
        ...


class LookedJob(Protocol):
    """A job whose provider was asked."""

    @property
    def claim(self) -> Claim:
        """The worker's claim on it."""
        ...

    @property
    def job_state(self) -> JobState:
        """Where it stood before the look."""
        ...

    @property
    def job_tries(self) -> int:
        """The number of looks before this one."""
        ...

    @property
    def model(self) -> str:
        """The model that it asked for; empty if it named none."""
        ...

    @property
    def age_seconds(self) -> float:
        """Since its purchase."""
        ...


class ClosedSubmission(Protocol):
    """The recorded result of a paid call."""

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it is open."""
        ...

    @property
    def error_code(self) -> str | None:
        """The code for why it was refused, or how its answer was lost."""
        ...

    @property
    def error(self) -> str | None:
        """The same in words."""
        ...


class LostSubmission(ClosedSubmission, Protocol):
    """A paid call whose answer is lost."""

    @property
    def sender(self) -> str:
        """The worker that sent it."""
        ...


class HeldCall(Protocol):
    """The facts of a job in doubt."""

    @property
    def held_note(self) -> str | None:
        """Why it is already held; None if it is not held."""
        ...

    @property
    def held_code(self) -> str | None:
        """The code that it is held with."""
        ...

    @property
    def may_close(self) -> bool:
        """Whether a call that bought nothing may be closed: its batch allows it, or the job was cancelled."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether a person cancelled it."""
        ...

    @property
    def resends(self) -> int:
        """How often it was sent again automatically."""
        ...

    @property
    def quiet_in(self) -> float:
        """Seconds until its purchase would show at the provider; 0 or less after that."""
        ...
