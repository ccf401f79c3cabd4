"""Decides when a provider is asked for a job's images: the first time, and the next time."""

from collections.abc import Sequence
from typing import Final

from shared.backoff import delay
from worker.next_step.inputs import DecisionInputs
from worker.next_step.known import LookedJob, LookedPicture

_LONG_SECONDS: Final = 10.0
_JITTER: Final = 0.05  # jobs that are looked at together share requests, so that spreading them costs some


def until_first_look(inputs: DecisionInputs, model: str) -> float:
    """Return the seconds from a purchase until the first look."""
    return _until_likely(inputs, model, 0.0, tries=0)


def until_next_look(inputs: DecisionInputs, job: LookedJob, open_ones: Sequence[LookedPicture]) -> float:
    """Return the seconds until the next look. While all open images are missing, they grow to `believe_seconds` / 5."""
    looks = min((picture.lacking_looks for picture in open_ones), default=0)
    if looks:
        return grown(inputs, 2 * looks, at_most=inputs.settings.believe_seconds / 5)
    return _until_full_second(inputs, _until_likely(inputs, job.model, job.age_seconds, tries=job.job_tries + 1))


def _until_likely(inputs: DecisionInputs, model: str, age: float, *, tries: int) -> float:
    """Return the seconds until a look is likely to find the images of a job bought `age` seconds ago.

    Without knowledge of the model, the waits grow with the number of looks, `tries`.
    """
    learned = inputs.times.get(model)
    wait = learned.until_likely(age, at_most=inputs.settings.poll_max_seconds) if learned else None
    if wait is not None:
        return wait
    return grown(inputs, tries) if tries else inputs.settings.poll_first_seconds


def _until_full_second(inputs: DecisionInputs, seconds: float) -> float:
    """Shorten a long wait so that it ends with a second: jobs that are due together share messages and requests."""
    return seconds if seconds < _LONG_SECONDS else seconds - (inputs.clock() + seconds) % 1


def grown(inputs: DecisionInputs, looks: int, *, at_most: float = 0.0) -> float:
    """Return a wait that grows with the number of looks."""
    first, most = inputs.settings.poll_first_seconds, max(inputs.settings.poll_max_seconds, at_most)
    return delay(looks, first_seconds=first, max_seconds=most, random=inputs.random, jitter=_JITTER)
