"""`genqueue hold`, `release`, `priority` and `deadline`: steer a batch that runs."""

import re
import shlex
from typing import Annotated, Final

import typer

from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.terminal import visible
from producer.plan.times import duration
from shared.notes import counted

_BATCH: Final = typer.Argument(help="the batch's name")
_TIME: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def hold(context: typer.Context, batch: Annotated[str, _BATCH]) -> None:
    """Buy nothing more for a batch until you release it; what was bought already is collected.

    No deadline passes meanwhile.

    Example: genqueue hold spring
    """
    with client(context) as opened:
        was_held = opened.is_held(batch)
        new = opened.hold(batch)
        every = opened.totals(batch).get("on_hold", 0)
    already = " already" if was_held else ""
    on_hold = f"{counted(every, 'job is', 'jobs are')} on hold, {new:,} of them newly"
    name = f"-- {shlex.quote(batch)}" if batch.startswith("-") else shlex.quote(batch)
    errors().print(visible(f"batch {batch} is held{already}, {on_hold}; to let it go on: genqueue release {name}"))


def release(context: typer.Context, batch: Annotated[str, _BATCH]) -> None:
    """Let a held batch go on; its jobs get a new deadline.

    Example: genqueue release spring
    """
    with client(context) as opened:
        jobs = opened.release(batch)
    errors().print(visible(f"batch {batch} goes on: {counted(jobs, 'job')} back in line"))


def priority(
    context: typer.Context,
    batch: Annotated[str, _BATCH],
    value: Annotated[int, typer.Argument(help="higher goes first; jobs have 0 unless their row says otherwise")],
) -> None:
    """Buy the jobs of a batch before those with a lower priority.

    Jobs of the same priority share an account evenly.

    Example: genqueue priority spring 10
    """
    with client(context) as opened:
        try:
            jobs = opened.set_priority(batch, value)
        except ValueError as error:
            fail(str(error), ExitCode.WRONG_INPUT)
    errors().print(
        visible(f"batch {batch}: priority {value} for {counted(jobs, 'job that has', 'jobs that have')} not ended")
    )


def deadline(
    context: typer.Context,
    batch: Annotated[str, _BATCH],
    after: Annotated[str, typer.Argument(metavar="TIME", help="from now, such as 90min, 6h or 2d")],
) -> None:
    """Buy nothing for a batch after some time from now; what was bought by then is collected.

    A job whose deadline passes ends as failed, with deadline_exceeded.

    Example: genqueue deadline spring 6h
    """
    found = _TIME.fullmatch(after.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not seconds:
        fail(f"{after[:20]!r} is no time from now, such as 90min, 6h or 2d", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        try:
            jobs = opened.set_deadline(batch, seconds)
        except ValueError as error:
            fail(str(error), ExitCode.WRONG_INPUT)
    buy = counted(jobs, "queued job buys", "queued jobs buy")
    errors().print(visible(f"batch {batch}: {buy} nothing after {duration(seconds)} from now"))
