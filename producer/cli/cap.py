"""`genqueue cap BATCH`: change what a batch may spend."""

from typing import Annotated

import typer

from producer.cli.session import client, errors


def cap(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    max_cost: Annotated[
        list[str] | None, typer.Argument(help="PROVIDER=AMOUNT, or an amount; without any, every cap is removed")
    ] = None,
) -> None:
    """Set a batch's spend caps; other providers' caps stay, and jobs that waited for room are tried again at once.

    Example: genqueue cap spring getimg=25.00
    """
    with client(context) as opened:
        caps = opened.cap(batch, max_cost or ())
    said = ", ".join(f"{provider} {amount:f}" for provider, amount in sorted(caps.items()))
    errors().print(f"batch {batch}: {said or 'no cap'}")
