"""`genqueue webhook`: who is told when jobs end, batches settle and accounts pause."""

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import typer

from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.tables import AsJson, fitted, show, show_cells, words
from producer.cli.terminal import Terminal, visible
from shared.settings import load
from shared.webhook_urls import url_complaint
from shared.webhooks import FEW, TYPES, parse_types

webhook = typer.Typer(
    name="webhook",
    help="""Add, list, test, replay and remove webhooks.

    Workers post signed events (Standard Webhooks) to a URL of yours.

    Example: genqueue webhook add https://shop.example/hooks --events 'job.*'
    """,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)
_LEAST: Final = {"events": 6, "url": 20}
"""The columns that give way to a narrow terminal, and how many cells each keeps."""
_ID_CHARS: Final = 13
_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}
Which = Annotated[str, typer.Argument(metavar="WEBHOOK", help="its id, the beginning of its id, or its URL")]


@webhook.command()
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="https://...; private addresses need a setting")],
    events: Annotated[
        list[str] | None,
        typer.Option("--events", metavar="TYPE", help=f"may be repeated: job.* or {', '.join(TYPES)}"),
    ] = None,
    batches: Annotated[str, typer.Option(metavar="PREFIX", help="only batches whose name begins so")] = "",
) -> None:
    """Send events to a URL, and print the secret that verifies them.

    Without --events it is told of everything but the end of each job. Private
    addresses and plain http are refused when a worker sends, unless
    GENQUEUE_ALLOW_PRIVATE_URLS of the workers names the host.

    Example: genqueue webhook add https://shop.example/hooks --events 'job.*'
    """
    if (complaint := url_complaint(url)) is not None:
        fail(f"a webhook's URL {complaint}", ExitCode.WRONG_INPUT)
    try:
        types = parse_types(part for given in events or FEW for part in given.split(",") if part)
    except ValueError as error:
        fail(str(error), ExitCode.WRONG_INPUT)
    with client(context) as opened:
        made = opened.add_webhook(url, types=types, batch_prefix=batches)
    typer.echo(made.secret.get_secret_value())
    errors().print(f"{made.id} is told of {', '.join(made.types)}")
    if (host := _unreached(url)) is not None:
        errors().print(
            f"warning: workers post only to public addresses over https. {visible(host)} is told nothing unless "
            "GENQUEUE_ALLOW_PRIVATE_URLS of the workers names it"
        )


def _unreached(url: str) -> str | None:
    """Return the URL's host if workers post nothing there unless their settings name it, as far as its text shows."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        private = not ipaddress.ip_address(host).is_global
    except ValueError:
        private = host == "localhost" or host.endswith(".localhost")
    named = host in load().allow_private_urls
    return host if (private or parts.scheme != "https") and not named else None


@webhook.command(name="list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List webhooks: which are on, and what waits.

    It also says when each last took an event.
    The beginning of an id is enough for other commands. What does not fit on
    a line is shortened; --json has all.

    Example: genqueue webhook list
    """
    with client(context) as opened:
        rows = opened.webhooks()
    shown = [{**row, "state": _state(row), "events": ", ".join(row["types"])} for row in rows]
    if as_json:
        show(shown, ("id", "state", "waiting", "delivered_at", "url", "batch_prefix", "events"), as_json=True)
        return
    prefix = ("batch_prefix",) * any(row["batch_prefix"] for row in shown)
    names = ("id", "state", "waiting", "delivered_at", *prefix, "url", "events")
    cells = [[*_beginnings(row, shown), *(words(row[name]) for name in names[4:])] for row in shown]
    show_cells(names, fitted(names, cells, _LEAST, Terminal().width))


def _beginnings(row: Mapping[str, Any], every: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the first four cells: the id as long as it must be, and the time without its year."""
    ids = [str(one["id"]) for one in every]
    size = next(size for size in range(_ID_CHARS, 37) if len({one[:size] for one in ids}) == len(ids))
    at = row["delivered_at"]
    return str(row["id"])[:size], row["state"], str(row["waiting"]), f"{at:%b %d %H:%M}" if at else ""


def _state(row: Mapping[str, Any]) -> str:
    if row["disabled_at"]:
        return f"off ({row['disabled_code']})"
    return f"failing ({row['failures']})" if row["failures"] else "on"


@webhook.command()
def deliveries(
    context: typer.Context,
    which: Which,
    failed: Annotated[bool, typer.Option("--failed", help="only those that failed")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="the newest so many")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest deliveries of a webhook and their last tries.

    Example: genqueue webhook deliveries 0197 --failed
    """
    with client(context) as opened:
        rows = opened.webhook_deliveries(which, only_failed=failed, limit=limit)
    show(rows, ("id", "type", "created_at", "tries", "status", "error", "milliseconds", "due_at"), as_json=as_json)


@webhook.command()
def test(context: typer.Context, which: Which) -> None:
    """Send a `webhook.test` and say what the receiver answered.

    Example: genqueue webhook test https://shop.example/hooks
    """
    with client(context) as opened:
        one = opened.test_webhook(which)
    if one["milliseconds"] is None:
        fail("no worker has sent it within 20 s: `genqueue status` shows whether one runs", ExitCode.BROKEN)
    if one["delivered_at"] is None:
        fail(f"it failed after {one['milliseconds']} ms: {one['error']}", ExitCode.BROKEN)
    typer.echo(f"the receiver answered {one['status']} after {one['milliseconds']} ms")


@webhook.command()
def replay(
    context: typer.Context,
    which: Annotated[str, typer.Argument(metavar="WHICH", help="a webhook with --since, or a delivery's id")],
    since: Annotated[str, typer.Option(metavar="AGE", help="of the last 30m, 12h or 3d")] = "",
    every: Annotated[bool, typer.Option("--all", help="also what was delivered")] = False,
) -> None:
    """Send a delivery again, or all of a span that failed. Each keeps its id, by which receivers know it.

    Example: genqueue webhook replay 0197 --since 12h
    """
    with client(context) as opened:
        if since:
            now = datetime.now(UTC)
            again = opened.replay_span(which, now - _age(since), now + timedelta(minutes=1), only_failed=not every)
        else:
            again = opened.replay_delivery(_delivery(which))
    if not again:
        fail("nothing to send again: see `genqueue webhook deliveries WEBHOOK`", ExitCode.WRONG_INPUT)
    errors().print(f"{again:,} will be sent again")


def _delivery(name: str) -> UUID:
    try:
        return UUID(name)
    except ValueError:
        fail("give the whole id of a delivery, or a webhook with --since", ExitCode.WRONG_INPUT)


def _age(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or len(number) > 4:  # noqa: PLR2004 - 9999 days are enough
        fail("an age is a number with m, h or d, such as 12h", ExitCode.WRONG_INPUT)
    return timedelta(seconds=int(number) * _UNITS[unit])


@webhook.command()
def rotate(context: typer.Context, which: Which) -> None:
    """Give a webhook a new secret and print it. For 24 hours the old one signs too.

    Example: genqueue webhook rotate 0197
    """
    with client(context) as opened:
        made = opened.rotate_webhook(which)
    typer.echo(made.get_secret_value())
    errors().print("for 24 hours, each event is signed with the old secret too")


@webhook.command()
def resume(context: typer.Context, which: Which) -> None:
    """Switch a webhook on again, and send what waited.

    Example: genqueue webhook resume 0197
    """
    with client(context) as opened:
        named = opened.resume_webhook(which)
    errors().print(f"{named} is on; what waited is sent")


@webhook.command()
def remove(context: typer.Context, which: Which) -> None:
    """Delete a webhook with its deliveries.

    Example: genqueue webhook remove 0197
    """
    with client(context) as opened:
        named = opened.remove_webhook(which)
    errors().print(f"{named} is removed")
