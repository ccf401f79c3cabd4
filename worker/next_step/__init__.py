"""Decides where a job or an image goes next. A stage loads rows, asks outside, calls a decision here, and writes it.

Each function takes the known facts and returns a `Move` of a job, an `ImageChange`, or a wait. It reads no database and
no network; chance and the time come with its inputs. docs/road.md names the few transitions that are decided elsewhere.
By stage: submit, `payment`; poll, `look`, `image_look`, `look_times`, `one_link` and `undelivered`; transfer,
`copying`, `failed_copy` and `refused_bytes`; reconcile, `lost_call`. After a 429 or an outage, `refusal_waits`.
"""

from worker.next_step.bounds import ABANDONED, POISON, abandoned, overdue, poisoned, without_key
from worker.next_step.copying import after_copying, goes_back, is_open
from worker.next_step.failed_copy import (
    FailedCopy,
    NewLink,
    image_after_failed_copy,
    image_after_new_link,
    until_next_copy,
    wait_after_failed_copy,
)
from worker.next_step.image_look import ImageLook, image_after_look, is_there
from worker.next_step.inputs import CopyWait, DecisionInputs, LookAgain
from worker.next_step.look import MISSING_LOOKS, after_look, after_refused_look, copied_here
from worker.next_step.lost_call import (
    LONGEST_LOOK_WAIT,
    NOT_BOUGHT,
    PATIENCE_SECONDS,
    adopted,
    after_evidence,
    after_refused_question,
    after_unbought,
    hold,
    sender_runs,
    unserved,
    without_list,
    without_presence,
)
from worker.next_step.one_link import links_of_others
from worker.next_step.payment import (
    NO_KEY_SECONDS,
    UNAVAILABLE,
    UNREADABLE,
    after_purchase,
    after_refusal,
    first_expiry,
    lost,
)
from worker.next_step.refusal_waits import wait_after_refused_call
from worker.next_step.refused_bytes import RefusedBytes, image_after_refused_bytes
from worker.next_step.undelivered import nothing_bought, nothing_found, nothing_linked

__all__ = [
    "ABANDONED",
    "LONGEST_LOOK_WAIT",
    "MISSING_LOOKS",
    "NOT_BOUGHT",
    "NO_KEY_SECONDS",
    "PATIENCE_SECONDS",
    "POISON",
    "UNAVAILABLE",
    "UNREADABLE",
    "CopyWait",
    "DecisionInputs",
    "FailedCopy",
    "ImageLook",
    "LookAgain",
    "NewLink",
    "RefusedBytes",
    "abandoned",
    "adopted",
    "after_copying",
    "after_evidence",
    "after_look",
    "after_purchase",
    "after_refusal",
    "after_refused_look",
    "after_refused_question",
    "after_unbought",
    "copied_here",
    "first_expiry",
    "goes_back",
    "hold",
    "image_after_failed_copy",
    "image_after_look",
    "image_after_new_link",
    "image_after_refused_bytes",
    "is_open",
    "is_there",
    "links_of_others",
    "lost",
    "nothing_bought",
    "nothing_found",
    "nothing_linked",
    "overdue",
    "poisoned",
    "sender_runs",
    "unserved",
    "until_next_copy",
    "wait_after_failed_copy",
    "wait_after_refused_call",
    "without_key",
    "without_list",
    "without_presence",
]
