"""`genqueue doctor`: every setting with its origin, every service reached or not, and what to do about it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any

import redis
import typer
from rich.console import Console
from rich.table import Table

from ops.cli.download import bucket
from ops.cli.join import adopted, joined
from producer import Client
from producer.cli.listings import balance_verdict, cell
from producer.cli.session import ExitCode, told
from shared import catalog
from shared.db.drift import Verdict
from shared.db.workers import ALIVE_SECONDS
from shared.setting_origins import SettingOrigin, origins, unknown_variables
from shared.settings import Settings
from worker.storage import StorageError

_SKEW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: whether it is well, what was seen, and what to do if it is not."""

    check: str
    ok: bool
    seen: str
    do: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    settings_too: Annotated[bool, typer.Option("--settings/--no-settings", help="list every setting")] = True,
) -> None:
    """Check everything that can be checked from here; exit code 1 if something is broken.

    Example: genqueue doctor --no-settings
    """
    with told(), joined() as settings, Client(settings=settings) as client:
        listed = [_at_home(one) for one in origins(settings)] if settings_too else []
        findings = list(_findings(settings, client))
    if as_json:
        typer.echo(
            json.dumps({"settings": [one._asdict() for one in listed], "findings": [asdict(f) for f in findings]})
        )
    else:
        _print(listed, findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(ExitCode.BROKEN)


def _findings(settings: Settings, client: Client) -> Iterator[Finding]:
    for stray in unknown_variables(settings):
        do = f"did you mean {stray.meant}?" if stray.meant else "unset it"
        yield Finding(stray.name, ok=False, seen="no such setting", do=do)
    yield from _database(settings, client)
    yield _broker(settings)
    yield _bucket(settings)
    yield from _workers(client)
    yield from _accounts(settings, client)
    yield from _balances(client)


def _at_home(setting: SettingOrigin) -> SettingOrigin:
    return setting._replace(origin="home") if setting.name in adopted() else setting


def _start(otherwise: str) -> str:
    return "start everything: genqueue up" if adopted() else otherwise


def _database(settings: Settings, client: Client) -> Iterator[Finding]:
    facts = client.database_facts()
    yield Finding("database", ok=True, seen=f"PostgreSQL {facts.version}, schema {facts.revision}")
    skew = facts.clock_skew_seconds
    yield Finding(
        "clock",
        ok=abs(skew) <= _SKEW_SECONDS,
        seen=f"{skew:+.1f} s against the database",
        do="synchronise this machine's clock" if abs(skew) > _SKEW_SECONDS else "",
    )
    if settings.send_within_seconds >= settings.lease_slack_seconds:
        yield Finding(
            "leases",
            ok=False,
            seen="GENQUEUE_SEND_WITHIN_SECONDS is not below GENQUEUE_LEASE_SLACK_SECONDS",
            do="raise GENQUEUE_LEASE_SLACK_SECONDS",
        )


def _broker(settings: Settings) -> Finding:
    url = settings.broker_url.get_secret_value()
    if not url:
        return Finding("broker", ok=False, seen="GENQUEUE_BROKER_URL is not set", do="set it; only workers need it")
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as connection:
            server: dict[str, Any] = connection.info()
            waiting = sum(int(connection.llen(name)) for name in ("submit", "poll", "transfer", "control"))
    except (redis.RedisError, ValueError) as error:
        return Finding(
            "broker", ok=False, seen=type(error).__name__, do=_start("start Redis, or correct GENQUEUE_BROKER_URL")
        )
    policy = server.get("maxmemory_policy", "unknown")
    return Finding(
        "broker",
        ok=policy == "noeviction",
        seen=f"Redis {server.get('redis_version')}, {waiting} messages waiting, {policy}",
        do="" if policy == "noeviction" else "set maxmemory-policy noeviction: eviction deletes queues",
    )


def _bucket(settings: Settings) -> Finding:
    try:
        bucket().check()
    except StorageError as error:
        return Finding(
            "bucket", ok=False, seen=str(error), do=_start("correct the S3 settings; only workers need them")
        )
    return Finding("bucket", ok=True, seen=f"{settings.s3_bucket} answers")


def _workers(client: Client) -> Iterator[Finding]:
    rows = client.workers()
    if not any(float(str(row["tick_age_seconds"])) < ALIVE_SECONDS for row in rows):
        yield Finding("workers", ok=False, seen="none runs", do="start one: genqueue up, or genqueue worker")
    for row in rows:
        age = float(str(row["tick_age_seconds"]))
        ok = age < ALIVE_SECONDS
        do = "" if ok else "it is stopped, frozen or cut off; look at its log"
        yield Finding(f"worker {row['name']}", ok=ok, seen=f"last tick {age:.0f} s ago, {row['slots']} slots", do=do)


def _accounts(settings: Settings, client: Client) -> Iterator[Finding]:
    for name in catalog.names():
        if not any(account.provider == name and account.api_key for account in settings.accounts.values()):
            yield Finding(f"key of {name}", ok=True, seen=f"not set here (GENQUEUE_{name.upper()}_API_KEY)")
    for row in client.accounts():
        name, paused = str(row["name"]), row["paused_at"]
        if isinstance(paused, datetime):
            link = f" {row['action_url']}" if row["action_url"] else ""
            seen = f"paused since {paused:%Y-%m-%d %H:%M}: {row['paused_reason']}"
            yield Finding(f"account {name}", ok=False, seen=seen, do=f"settle it{link}, then genqueue resume {name}")
        elif row["seen_at"] is None:
            yield Finding(f"account {name}", ok=True, seen="no worker with its key has run yet")
        else:
            left = f", {cell(row['balance'])} {row['unit']} left" if row["balance"] is not None else ""
            notes = f"; {row['notes']}" if row["notes"] else ""
            yield Finding(f"account {name}", ok=True, seen=f"{row['concurrency']} calls at once{left}{notes}")


def _balances(client: Client) -> Iterator[Finding]:
    for span in client.balance_spans():
        if not span.current:
            continue
        taken = span.verdict is Verdict.TAKEN
        seen = f"since {cell(span.base.at)}: {cell(span.expected)} {span.unit} expected, {cell(span.last.balance)} left"
        do = f"look at the provider's own history; if another uses the key: genqueue bill --accept-drift {span.account}"
        words = f"{seen}: {balance_verdict(span)}" if span.difference else f"as expected since {cell(span.base.at)}"
        yield Finding(f"balance {span.account}", ok=not taken, seen=words, do=do if taken else "")


def _print(listed: Any, findings: list[Finding]) -> None:
    console = Console(highlight=False)
    if listed:
        console.print(_table(("setting", "value", "from"), ((one.name, one.shown, one.origin) for one in listed)))
        console.print()
    console.print(_table(("", "check", "seen"), map(_row, findings)))


def _row(finding: Finding) -> tuple[str, str, str]:
    mark = "[green]ok[/green]" if finding.ok else "[red]NO[/red]"
    do = f"\n[yellow]{cell(finding.do)}[/yellow]" if finding.do else ""
    return mark, cell(finding.check), cell(finding.seen) + do


def _table(names: tuple[str, ...], rows: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    return table
