"""`genqueue policy BATCH`: what a batch does with lost calls that bought nothing, and where `resend` would help."""

import shlex
from typing import Annotated, Final

import typer

from producer.cli.session import client
from producer.cli.terminal import Terminal, visible
from producer.client import Client
from shared.db.jobs.policy import HeldByPolicy
from shared.notes import counted
from shared.policies import RISKS, OnUnknown

_HINTS: Final = 3


def policy(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    on_unknown: Annotated[
        OnUnknown | None,
        typer.Argument(metavar="[hold|resend]", help="the new policy; without one, show the present policy"),
    ] = None,
) -> None:
    """Show or change what a batch does when the answer to a paid call is lost.

    hold (the default): the queue never pays twice by itself. A person decides
    about each lost call.

    resend: the queue sends a job again, at most twice, if the provider's own
    list or usage proves that nothing was bought. If the provider hides a
    purchase, each such call may be charged a second time.

    After a change, workers look again at the jobs that are held in doubt. They
    send nothing because of an earlier look.

    Example: genqueue policy spring resend
    """
    console = Terminal(stderr=True)
    with client(context) as opened:
        if on_unknown is None:
            console.print(visible(f"batch {batch}: {RISKS[opened.policy(batch)]}"))
            return
        change = opened.set_policy(batch, on_unknown)
    was = "already" if change.before == change.now else f"was {change.before}"
    console.print(visible(f"batch {batch} ({was}): {RISKS[change.now]}"))
    console.print(
        f"{counted(change.due, 'held job is', 'held jobs are')} looked at again; nothing is sent before that look"
    )


def hint(held: HeldByPolicy) -> tuple[str, str, str]:
    """Say that the policy `resend` might help with held jobs, how to set it, and what it risks."""
    one = held.jobs == 1
    whose, them, wait = ("its provider", "it", "waits") if one else ("their providers", "them", "wait")
    many = counted(held.jobs, "job")
    name = f"-- {shlex.quote(held.batch)}" if held.batch.startswith("-") else shlex.quote(held.batch)
    why = (
        f"{many} of {held.batch} {wait} for you, although {whose} may show that nothing was bought. This lets the "
        f"queue send {them} again once that is proved (enqueue has --on-unknown resend):"
    )
    return (
        why,
        f"  genqueue policy {name} resend",
        "The risk: if the provider hides a purchase, that call is charged a second time.",
    )


def show_hints(opened: Client, batch: str | None = None) -> None:
    """Print where another policy might help: for one batch, or for the three that hold the most jobs."""
    console = Terminal(stderr=True)
    for held in opened.held_by_policy(batch)[:_HINTS]:
        for line in hint(held):
            console.print(visible(line), soft_wrap=line.startswith("  "))
