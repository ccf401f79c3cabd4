"""What ends a pause of an account, by its reason: pure. Every place that names a pause says it with these words."""

from datetime import datetime
from typing import Final

_BY_HAND: Final = "paused_by_hand"
_RESTORED: Final = "database_restored"
_FIRST: Final = {
    "account_address_wrong": "correct its base URL for the workers and restart them",
    "account_forbidden": "settle it with the provider",
    "account_out_of_credit": "top up at the provider",
    "account_unauthorized": "set the right key for the workers and restart them",
    "cost_unbelievable": "compare the cost with the provider's history",
    "looks_failing": "look at the provider's status page",
    "provider_failing": "look at the provider's status page",
    "results_unreachable": "look at the reason, and whether the host of its images answers",
}
"""Reason -> what a person does first."""


def ends_pause(
    account: str, code: str | None, *, link: str | None = None, probe_at: datetime | None = None, mark: str = ""
) -> str:
    """Say what ends the pause `code` of an account; `mark` stands on both sides of the command.

    A pause with a time for its next probe ends by itself when its cause is gone: nobody has to resume it.
    """
    command = f"{mark}genqueue resume {'--after-restore' if code == _RESTORED else account}{mark}"
    if code == _BY_HAND and not link:
        return command
    if code == _RESTORED:  # not one account's matter
        return f"{command} shows what may be missing, and asks before it ends the pause"
    first = _FIRST.get(code or "", "settle it") + (f" ({link})" if link else "")
    if probe_at is None:
        return f"{first}, then {command}"
    probes = f"workers probe it at {probe_at:%H:%M:%S} UTC, and the pause ends by itself when the cause is gone"
    return f"{first}; {probes}; {command} ends it at once"
