"""What decisions are made with in tests: the default settings, and a provider that can be asked for its images."""

from random import Random

from shared.settings import Settings
from worker.next_step import DecisionInputs

SETTINGS = Settings()
POLICY = DecisionInputs(
    settings=SETTINGS,
    random=Random(1),
    title="Bloom",
    key_id="k1",
    find_by="prompt",
    can_look=True,
    inline=False,
    slack_seconds=10.0,
    transfer_lease=90.0,
    clock=lambda: 1_000_000.25,
)
