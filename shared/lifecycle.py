"""The states of a job, each glossed by who acts next, and the transitions between them: pure data."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """Where a job stands; the value is what the database stores."""

    QUEUED = "queued"
    """Nothing spent. The dispatcher claims it when its account has room."""

    SUBMITTING = "submitting"
    """An open submission exists: its sender is paying right now, or died; reconcile looks when the lease ends."""

    PENDING = "pending"
    """Bought; the provider has not begun. The poller asks when it is due."""

    PROCESSING = "processing"
    """Bought; the provider is drawing. The poller asks when it is due."""

    TRANSFERRING = "transferring"
    """Links or bytes are known. The transfer copies them into the bucket, earliest expiry first."""

    IN_DOUBT = "in_doubt"
    """The answer to a paid call is lost: it may have been bought. Reconcile looks for it; else a person ends it."""

    SUCCEEDED = "succeeded"
    """Every image is verified in the bucket. Final."""

    FAILED = "failed"
    """Ended with a reason in `error_code`; what was stored is kept. Final until a retry or late evidence."""

    CANCELLED = "cancelled"
    """Ended by request; what was bought by then is stored and its cost recorded. Final."""


FINAL: frozenset[JobState] = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
POLLED: frozenset[JobState] = frozenset({JobState.PENDING, JobState.PROCESSING})

_S = JobState
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        # To pending or transferring: evidence of an earlier attempt came before anything was bought anew.
        _S.QUEUED: frozenset({_S.QUEUED, _S.SUBMITTING, _S.FAILED, _S.CANCELLED, _S.PENDING, _S.TRANSFERRING}),
        _S.SUBMITTING: frozenset({_S.QUEUED, _S.PENDING, _S.TRANSFERRING, _S.IN_DOUBT, _S.FAILED, _S.CANCELLED}),
        _S.PENDING: frozenset({_S.PENDING, _S.PROCESSING, _S.TRANSFERRING, _S.FAILED, _S.CANCELLED}),
        _S.PROCESSING: frozenset({_S.PROCESSING, _S.TRANSFERRING, _S.FAILED, _S.CANCELLED}),
        # To pending: evidence of another attempt brought a picture that is not made yet.
        _S.TRANSFERRING: frozenset({_S.TRANSFERRING, _S.PENDING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
        _S.IN_DOUBT: frozenset({_S.IN_DOUBT, _S.PENDING, _S.TRANSFERRING, _S.QUEUED, _S.FAILED, _S.CANCELLED}),
        _S.SUCCEEDED: frozenset(),
        # A person has it collected again or buys what is missing; late evidence has what was bought collected.
        _S.FAILED: frozenset({_S.QUEUED, _S.PENDING, _S.TRANSFERRING}),
        _S.CANCELLED: frozenset({_S.PENDING, _S.TRANSFERRING}),
    }
)
"""From each state, the states it may move to. A state that lists itself may be given a new due time."""


class Outcome(StrEnum):
    """How one attempt to pay ended; an open submission has none yet."""

    NOT_SENT = "not_sent"
    """Proved: not one byte left. May be sent again by itself."""

    REJECTED = "rejected"
    """The provider refused, and nothing was bought. May be sent again by itself."""

    ACCEPTED = "accepted"
    """Bought. Nothing buys it a second time unless a person says `--buy-again`."""

    UNKNOWN = "unknown"
    """It may have been bought. Held until evidence or a person settles it."""


class ImageState(StrEnum):
    """Where one picture of a job stands."""

    PENDING = "pending"
    """Bought; not begun upstream."""

    PROCESSING = "processing"
    """Being drawn upstream."""

    READY = "ready"
    """A link is known; the transfer fetches it."""

    STORED = "stored"
    """Verified in the bucket. Final."""

    UPSTREAM_ONLY = "upstream_only"
    """Made and paid for, but its provider gives no link; left there because a setting says so. Final."""

    FAILED = "failed"
    """Will not arrive, with its own error code. Final."""


IMAGE_FINAL: frozenset[ImageState] = frozenset({ImageState.STORED, ImageState.UPSTREAM_ONLY, ImageState.FAILED})


class IllegalTransitionError(ValueError):
    """The lifecycle has no such transition: a defect of ours, caught before it reaches the database."""


def check_transition(before: JobState, after: JobState) -> None:
    """Raise `IllegalTransitionError` unless the lifecycle allows `before` to become `after`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(f"a job may not go from {before} to {after}")
