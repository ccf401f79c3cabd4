"""One job in doubt under the locks of a transaction: what decides about it, and how a decision is written."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from shared.db.engine import Connection
from shared.db.jobs.transitions import give_back, move
from shared.db.lost_calls import lost_calls
from shared.db.lost_calls.lost_calls import LostCall
from shared.lifecycle import JobState
from shared.moves import Claim, Move
from worker import next_step
from worker.next_step import LookAgain
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

if TYPE_CHECKING:
    from shared.db.rows import Submission


@dataclass(frozen=True, slots=True)
class Case:
    """One job in doubt, with what its worker knows of it."""

    runtime: Runtime
    account: ServedAccount
    claim: Claim
    submission: "Submission"
    call: LostCall

    @property
    def inputs(self) -> next_step.DecisionInputs:
        """The inputs of decisions about the job."""
        return self.runtime.decision_inputs(self.account)


def lost_call(connection: Connection, account: ServedAccount, submission_id: UUID) -> LostCall | None:
    """Return a submission as a lost call of its account, with its quiet time; None unless its outcome is unknown."""
    return lost_calls.of_submission(
        connection, submission_id, slack_seconds=account.slack_seconds, quiet_seconds=account.quiet_after_call
    )


def write(connection: Connection, runtime: Runtime, step: Move | LookAgain) -> None:
    """Write the decision. A postponed look counts as done, and as no crash."""
    if isinstance(step, LookAgain):
        held = [JobState.IN_DOUBT]
        give_back(connection, [step.claim], states=held, due_seconds=step.seconds, done=True)
    else:
        move(connection, [step], actor=runtime.sender.name)
