"""`genqueue resolve JOB --resend | --fail`: a person ends a job in doubt."""

from decimal import Decimal
from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail
from producer.money import amount_in


def resolve(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")],
    resend: Annotated[bool, typer.Option("--resend", help="send it again; it may be paid for a second time")] = False,
    give_up: Annotated[bool, typer.Option("--fail", help="end it as failed")] = False,
    charged: Annotated[
        str | None, typer.Option(help="what the provider charged for the lost call; 0 = nothing; unknown = leave out")
    ] = None,
) -> None:
    """End a job whose answer was lost, after a look at the provider's own history.

    Example: genqueue resolve spring/row-000042 --resend --charged 0
    """
    if resend == give_up:
        fail("say one of --resend and --fail", ExitCode.WRONG_INPUT)
    amount = _amount(charged)
    with client(context) as opened:
        state = opened.resolve(opened.find_job(job), resend=resend, charged=amount)
    money = "the money stays held" if amount is None else f"the ledger says {amount:f}"
    errors().print(f"{job} is {state}; {money}", markup=False)


def _amount(charged: str | None) -> Decimal | None:
    amount = None if charged is None else amount_in(charged)
    if charged is not None and amount is None:
        fail("--charged must be an amount such as 0.035, in the account's unit", ExitCode.WRONG_INPUT)
    return amount
