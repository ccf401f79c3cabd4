"""`genqueue look-again JOB`: a worker looks at a job in doubt now, and reads its kept answer again."""

from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail
from shared.lifecycle import JobState


def look_again(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")],
) -> None:
    """Look at a job in doubt again, now: read its kept answer again and ask its provider. This is free.

    Use it after an upgrade that can read more answers, or after a kept answer
    is restored. The policy of the job's batch applies: with resend, a call that
    is proved unbought is sent again.

    Example: genqueue look-again spring/row-000042
    """
    with client(context) as opened:
        state = opened.look_again(opened.find_job(job))
    if state is not JobState.IN_DOUBT:
        fail(f"{job} is {state}, not in doubt: there is nothing to look for", ExitCode.WRONG_INPUT)
    errors().print(f"a worker with its account's key looks at {job} as soon as it is free")
