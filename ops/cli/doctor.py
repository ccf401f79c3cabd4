"""`genqueue doctor`: tries everything that can be tried from here, and says what to do about faults."""

import json
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated, Final

import typer

from ops.cli.checks.queue import of_queue
from ops.cli.checks.running import SECONDS, Finding, side_by_side, within
from ops.cli.checks.servers import of_servers
from ops.cli.join import adopted, joined
from producer import Client
from producer.cli.session import ExitCode, told
from producer.cli.tables import show_cells
from producer.cli.terminal import Terminal, styled, visible
from shared.db.engine import DatabaseUnavailableError
from shared.db.schema import SchemaError
from shared.notes import counted
from shared.setting_origins import SettingOrigin, origins
from shared.settings import Settings, load

_MARKS: Final = (("NO", "red"), ("!!", "yellow"), ("ok", "green"))
_GAP: Final = "  "


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    settings_too: Annotated[bool, typer.Option("--settings/--no-settings", help="list every setting first")] = False,
) -> None:
    """Try everything that can be tried from here; exit code 1 if something is broken.

    The checks run side by side, five seconds each. What is broken is printed at
    once, then what a person should look at, then what is well.

    Example: genqueue doctor
    """
    with told(), ExitStack() as stack:
        settings, client, fault = _entered(stack)
        listed = [_at_home(one) for one in origins(settings)] if settings_too else []
        tried = {**of_servers(settings), **(of_queue(settings, client) if client else {})}
        found = _with(fault, side_by_side(tried))
        findings = _collected(found, listed) if as_json else _printed(found, listed)
    if any(not finding.ok for finding in findings):
        raise typer.Exit(ExitCode.BROKEN)


def _entered(stack: ExitStack) -> tuple[Settings, Client | None, Finding | None]:
    """Join the stack. If its database cannot be used, the other servers are still tried."""

    def enter() -> tuple[Settings, Client]:
        settings = stack.enter_context(joined())
        return settings, stack.enter_context(Client(settings=settings))

    # A home's own database may have to be started first; that takes as long as it takes.
    seconds = SECONDS if load().database_url.get_secret_value() else None
    try:
        settings, client = within(seconds, enter)
    except TimeoutError:
        seen = f"no answer within {SECONDS:.0f} s"
        return (
            load(),
            None,
            Finding("database", ok=False, seen=seen, do="it is frozen, overloaded or behind a firewall"),
        )
    except (DatabaseUnavailableError, SchemaError) as error:
        seen, _, do = str(error).partition(": ")
        return load(), None, Finding("database", ok=False, seen=seen, do=do or "start PostgreSQL, or correct its URL")
    return settings, client, None


def _with(first: Finding | None, others: Iterator[Finding]) -> Iterator[Finding]:
    if first is not None:
        yield first
    yield from others


def _at_home(setting: SettingOrigin) -> SettingOrigin:
    return setting._replace(origin="home") if setting.name in adopted() else setting


def _collected(found: Iterator[Finding], listed: list[SettingOrigin]) -> list[Finding]:
    findings = list(found)
    shown = {"settings": [one._asdict() for one in listed], "findings": [asdict(one) for one in findings]}
    typer.echo(json.dumps(shown))
    return findings


def _printed(found: Iterator[Finding], listed: list[SettingOrigin]) -> list[Finding]:
    """Print what is broken as it comes, the rest when all is known, and the verdict."""
    console = Terminal(soft_wrap=True)
    if listed:
        show_cells(("setting", "from", "value"), [(one.name, one.origin, str(one.shown)) for one in listed])
        console.print()
    findings = []
    for finding in found:
        findings.append(finding)
        if not finding.ok:
            _show(console, finding)
    for finding in sorted((one for one in findings if one.ok), key=lambda one: one.rank):
        _show(console, finding)
    _verdict(console, findings)
    return findings


def _show(console: Terminal, finding: Finding) -> None:
    mark, color = _MARKS[finding.rank]
    head = f"{mark}{_GAP}{visible(finding.check)}{_GAP}"
    first, *rest = _wrapped(head + visible(finding.seen), console.width)
    line = styled(first, "")
    line.stylize(color, 0, len(mark))
    console.print(line)
    for more in rest:
        console.print(visible(more))
    for more in _wrapped(" " * 4 + visible(finding.do), console.width) if finding.do else ():
        console.print(styled(more, "yellow"))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=" " * 4, break_long_words=False, break_on_hyphens=False)


def _verdict(console: Terminal, findings: list[Finding]) -> None:
    broken, look = (sum(one.rank == rank for one in findings) for rank in (0, 1))
    console.print()
    if broken:
        console.print(styled(f"{broken} of {len(findings)} checks failed: what is marked NO is broken", "red"))
        if look:
            console.print(
                styled(
                    f"besides, {counted(look, 'thing marked !! waits', 'things marked !! wait')} for a person", "yellow"
                )
            )
    elif look:
        console.print(styled(f"everything works; {counted(look, 'thing waits', 'things wait')} for a person", "yellow"))
    else:
        console.print(styled(f"everything works: {len(findings)} checks", "green"))
