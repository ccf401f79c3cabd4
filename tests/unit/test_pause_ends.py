"""What ends a pause: a person resumes what only a person can end, and is told where workers do it themselves."""

from datetime import UTC, datetime

import pytest

from shared.errors import CODES
from shared.pause_ends import ends_pause

PROBE = datetime(2026, 1, 2, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "code",
    [
        "account_address_wrong",
        "account_forbidden",
        "account_out_of_credit",
        "account_unauthorized",
        "looks_failing",
        "provider_failing",
        "results_unreachable",
    ],
)
def test_a_pause_that_workers_probe_is_said_to_end_by_itself(code: str) -> None:
    assert code in CODES
    said = ends_pause("bloom", code, link="https://x.example", probe_at=PROBE)
    assert "settle it (" not in said
    assert "(https://x.example); workers probe it at 12:00:30 UTC, and the pause ends by itself" in said
    assert said.endswith("; genqueue resume bloom ends it at once")


@pytest.mark.parametrize("code", ["cost_unbelievable", "account_address_wrong"])
def test_a_pause_that_no_worker_probes_is_ended_by_a_person_after_a_first_step(code: str) -> None:
    said = ends_pause("bloom", code)
    assert said.endswith(", then genqueue resume bloom")
    assert not said.startswith("settle it")


def test_a_pause_by_hand_needs_nothing_but_the_command() -> None:
    assert ends_pause("bloom", "paused_by_hand", mark="`") == "`genqueue resume bloom`"


def test_a_restored_database_names_no_single_account() -> None:
    assert ends_pause("bloom", "database_restored").startswith("genqueue resume --after-restore shows")
