"""The states of a job and the transitions between them: pure data. Each state says who acts next."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """Where a job stands; the value is what the database stores."""

    QUEUED = "queued"
    """Nothing spent. The dispatcher claims it when its account has room."""

    SUBMITTING = "submitting"
    """An open submission exists. Its sender is paying now, or has died. Reconcile looks when the lease ends."""

    PENDING = "pending"
    """Bought; the provider has not begun. The poller asks when it is due."""

    PROCESSING = "processing"
    """Bought; the provider is drawing. The poller asks when it is due."""

    TRANSFERRING = "transferring"
    """Links or bytes are known. The transfer copies the images into the bucket, earliest expiry first."""

    IN_DOUBT = "in_doubt"
    """The answer to a paid call is lost: it may have been bought. Reconcile looks for it, or a person acts."""

    SUCCEEDED = "succeeded"
    """Every image is in the bucket, verified or accepted by a person. Final."""

    FAILED = "failed"
    """Ended with a reason in `error_code`. Stored images are kept. Final until a retry or late evidence."""

    CANCELLED = "cancelled"
    """Ended by request. Earlier purchases are stored, with their cost. Final until a retry or late evidence."""


class Stage(StrEnum):
    """The stages of a worker. Each has a message queue with its name."""

    SUBMIT = "submit"
    POLL = "poll"
    TRANSFER = "transfer"
    RECONCILE = "reconcile"


FINAL: frozenset[JobState] = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
POLLED: frozenset[JobState] = frozenset({JobState.PENDING, JobState.PROCESSING})
"""The states in which its provider is asked for a job's images."""
COLLECTED: frozenset[JobState] = POLLED | {JobState.TRANSFERRING}
"""The states in which workers collect what a job has bought."""

_S = JobState
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        # To pending or transferring: evidence of an earlier attempt came before anything was bought again.
        _S.QUEUED: frozenset({_S.QUEUED, _S.SUBMITTING, _S.FAILED, _S.CANCELLED, _S.PENDING, _S.TRANSFERRING}),
        _S.SUBMITTING: frozenset({_S.QUEUED, _S.PENDING, _S.TRANSFERRING, _S.IN_DOUBT, _S.FAILED, _S.CANCELLED}),
        _S.PENDING: frozenset({_S.PENDING, _S.PROCESSING, _S.TRANSFERRING, _S.FAILED, _S.CANCELLED}),
        _S.PROCESSING: frozenset({_S.PROCESSING, _S.TRANSFERRING, _S.FAILED, _S.CANCELLED}),
        # To pending: evidence of another attempt brought an image that is not made yet.
        _S.TRANSFERRING: frozenset({_S.TRANSFERRING, _S.PENDING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
        _S.IN_DOUBT: frozenset({_S.IN_DOUBT, _S.PENDING, _S.TRANSFERRING, _S.QUEUED, _S.FAILED, _S.CANCELLED}),
        _S.SUCCEEDED: frozenset(),
        # A person collects it again, buys what is missing, or accepts an unverified image. Late evidence also makes
        # workers collect a purchase.
        _S.FAILED: frozenset({_S.QUEUED, _S.PENDING, _S.TRANSFERRING, _S.SUCCEEDED}),
        _S.CANCELLED: frozenset({_S.PENDING, _S.TRANSFERRING}),
    }
)
"""For each state, the states that it may move to. A job may get a new due time in a state that lists itself."""


class Outcome(StrEnum):
    """How one attempt to pay ended; an open submission has none yet."""

    NOT_SENT = "not_sent"
    """Proved: no byte left. The queue may send the job again."""

    REJECTED = "rejected"
    """The provider refused, and nothing was bought. The queue may send the job again."""

    ACCEPTED = "accepted"
    """Bought. Only a person can buy it a second time, with `--buy-again`."""

    UNKNOWN = "unknown"
    """It may have been bought. Its money is held until evidence or a person settles it."""


class ImageState(StrEnum):
    """Where one image of a job stands."""

    PENDING = "pending"
    """Bought; the provider has not begun."""

    PROCESSING = "processing"
    """The provider is drawing it."""

    READY = "ready"
    """A link is known. The transfer downloads it."""

    STORED = "stored"
    """In the bucket, verified or accepted by a person. Final."""

    UPSTREAM_ONLY = "upstream_only"
    """Made and paid for, but its provider gives no link. A setting leaves it there. Final."""

    FAILED = "failed"
    """Did not arrive, or is kept unverified. Has its own error code. Final until a person retries or accepts it."""


IMAGE_FINAL: frozenset[ImageState] = frozenset({ImageState.STORED, ImageState.UPSTREAM_ONLY, ImageState.FAILED})
IMAGE_UNFINISHED: frozenset[ImageState] = frozenset({ImageState.PENDING, ImageState.PROCESSING})
"""The states in which its provider is still asked for an image."""


class IllegalTransitionError(ValueError):
    """The lifecycle has no such transition. This is a defect of ours, caught before it reaches the database."""


def check_transition(before: JobState, after: JobState) -> None:
    """Raise `IllegalTransitionError` unless the lifecycle allows `before` to become `after`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(f"a job may not go from {before} to {after}")
