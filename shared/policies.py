"""What each policy for lost calls does and risks, worded once for the help, `explain` and the documentation."""

from typing import Final, Literal

OnUnknown = Literal["hold", "resend"]
"""What happens to a lost call once its provider shows that nothing was bought."""

HOLD: Final = "hold: the queue never pays twice by itself; a person decides about each lost call"
RESEND: Final = (
    "resend: the queue sends a job again, at most twice, if the provider's own list or usage proves that nothing was "
    "bought; the risk is one second charge for each such call, if the provider hides the first"
)
RISKS: Final[dict[OnUnknown, str]] = {"hold": HOLD, "resend": RESEND}
