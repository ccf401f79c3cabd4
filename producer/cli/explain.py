"""`genqueue explain JOB`: one job's whole story, in order, with money and what you can do."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from producer.cli.listings import AsJson, cell, plain
from producer.cli.session import client
from shared.errors import CODES, COLLECT, ErrorCode
from shared.lifecycle import FINAL, JobState

_PROMPT_CHARS = 60
_WORDS = re.compile(r"\b(?:JOB|BATCH|ACCOUNT|PROVIDER)\b")
_PRIVATE = {"fingerprint", "key_id", "link", "sender_lock"}


def explain(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")],
    as_json: AsJson = False,
) -> None:
    """Tell a job's story: what was asked, each attempt to pay, each image, every cent, and what comes next.

    Example: genqueue explain spring/row-000042
    """
    with client(context) as opened:
        story = opened.story(opened.find_job(job))
    if as_json:
        typer.echo(json.dumps({part: _json(value) for part, value in story.items()}))
        return
    console = Console(soft_wrap=True, highlight=False)
    for line in _lines(story):
        console.print(line)


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: plain(item.hex() if isinstance(item, bytes) else item)
            for name, item in value.items()
            if name not in _PRIVATE
        }
    return [_json(item) for item in value]


def _lines(story: Mapping[str, Any]) -> list[str]:
    job = story["job"]
    lines = [
        f"[bold]{cell(job['batch'])}/{cell(job['custom_id'])}[/bold]  {job['id']}",
        f"  {job['provider']} (account {job['account']}), {job['images']} image(s): {_asked(job['request'])}",
        f"  [bold]{job['state']}[/bold]{_when(job)}",
    ]
    lines += _why(job)
    lines += [f"{_clock(row['at'])}  {text}" for row, text in sorted(_timeline(story), key=lambda pair: pair[0]["at"])]
    lines += [_image(image) for image in story["images"]]
    return lines + _money(story)


def _asked(request: Mapping[str, Any]) -> str:
    prompt = str(request["prompt"])
    shown = prompt if len(prompt) <= _PROMPT_CHARS else prompt[: _PROMPT_CHARS - 3] + "..."
    others = ", ".join(f"{name}={value}" for name, value in request.items() if name != "prompt")
    return cell(f"{shown!r} {others}".strip())


def _when(job: Mapping[str, Any]) -> str:
    if JobState(job["state"]) in FINAL:
        return f" at {_clock(job['finished_at'])}"
    seconds = (job["due_at"] - job["now"]).total_seconds()
    return f", looked at again in {seconds:.0f} s" if seconds > 0 else ", due now"


def _why(job: Mapping[str, Any]) -> list[str]:
    lines = []
    code = CODES.get(job["error_code"] or "")
    if job["error_code"]:
        lines.append(f"  {job['error_code']}: {cell(job['error'])}")
    if code:
        lines += [f"  means: {code.meaning}", *_what_now(job, code)]
    if job["paused_code"] and job["state"] == JobState.QUEUED:
        link = f" ({job['action_url']})" if job["action_url"] else ""
        lines.append(f"  account {job['account']} is paused: {cell(job['paused_reason'])}{link}")
        looked = f" (looked at by itself at {_clock(job['probe_at'])})" if job["probe_at"] else ""
        lines.append(f"  you can: genqueue resume {job['account']}{looked}")
    return lines + _limits(job)


def _what_now(job: Mapping[str, Any], code: ErrorCode) -> list[str]:
    """Say what the queue does and what a person can do, which the code alone does not tell of every state."""
    if job["state"] == JobState.IN_DOUBT and not job["parked"]:
        does = "holds it"
        if job["cancel_requested_at"]:
            does = "ends it as cancelled if it is proved unbought, else holds it"
        elif job["on_unknown"] == "resend":
            does = "sends it again if it is proved unbought, else holds it"
        return [f"  the queue looks for what it bought, and collects that; else it {does}", "  you can: wait for that"]
    if job["state"] == JobState.CANCELLED:
        free, _, _buying = COLLECT.partition(";")  # nothing is bought for it any more
        return [f"  you can: {cell(_fill(free, job))}"] if code.you_can == COLLECT else []
    return [f"  the queue {code.queue_does}", f"  you can: {cell(_fill(code.you_can, job))}"]


def _fill(advice: str, job: Mapping[str, Any]) -> str:
    """Put the job's own names in place of an advice's words, quoted as a shell needs them."""
    name = f"{job['batch']}/{job['custom_id']}"
    values = {
        "JOB": str(job["id"]) if name.startswith("-") else name,
        "BATCH": str(job["batch"]),
        "ACCOUNT": str(job["account"]),
        "PROVIDER": str(job["provider"]),
    }
    return _WORDS.sub(lambda found: _argument(values[found[0]]), advice)


def _argument(value: str) -> str:
    return f"-- {shlex.quote(value)}" if value.startswith("-") else shlex.quote(value)


def _limits(job: Mapping[str, Any]) -> list[str]:
    """Say what else decides how the job goes on: caps, policy, and that somebody cancelled it."""
    lines = []
    if job["provider"] in job["caps"]:
        lines.append(f"  its batch may spend {job['caps'][job['provider']]} {job['unit']} at {job['provider']}")
    if job["daily_cap"] is not None and job["state"] == JobState.QUEUED:
        spent = cell(job["spent_today"]) or 0
        lines.append(f"  {job['account']} has spent or set aside {spent} of {cell(job['daily_cap'])} today (UTC)")
    if job["state"] == JobState.IN_DOUBT:
        then = "is held for you" if job["parked"] else "is looked up at the provider"
        lines.append(f"  it {then}; its batch says: on unknown {job['on_unknown']}")
    if job["cancel_requested_at"] and JobState(job["state"]) not in FINAL:
        lines.append("  cancelled: what is bought is followed to its end, and nothing more is bought")
    return lines


def _timeline(story: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    told: list[tuple[Mapping[str, Any], str]] = [({"at": story["job"]["created_at"]}, "enqueued")]
    for event in story["events"]:
        said = ": ".join(filter(None, (event["code"], event["note"])))
        why = f"  {cell(said)}" if said else ""
        told.append((event, f"{event['from_state']} -> {event['to_state']}{why}  ({event['actor']})"))
    for line in story["ledger"]:
        moved = ", ".join(f"{name} {line[name]:+f}" for name in ("reserved", "settled", "held") if line[name])
        if line["unit"] == "unbilled":
            moved = "nothing is charged,"
        told.append((line, f"{line['kind']}: {moved or 'price unknown'} {line['unit']}"))
    return told


def _image(image: Mapping[str, Any]) -> str:
    if image["key"]:
        size = f"{image['width']}x{image['height']}, {image['bytes']:,} bytes"
        return f"  image {image['index']}: s3://{image['bucket']}/{image['key']}  {size}"
    why = f"  {image['error_code']}: {cell(image['error'])}" if image["error_code"] else ""
    return f"  image {image['index']}: {image['state']}{why}"


def _money(story: Mapping[str, Any]) -> list[str]:
    job = story["job"]
    totals = {name: sum(line[name] for line in story["ledger"]) for name in ("settled", "reserved", "held")}
    unit = story["ledger"][0]["unit"] if story["ledger"] else ""
    lines = ["  money: " + ", ".join(f"{name} {cell(total) or 0} {unit}".strip() for name, total in totals.items())]
    if JobState(job["state"]) in FINAL and any(attempt["outcome"] == "unknown" for attempt in story["submissions"]):
        settle = _fill("`genqueue resolve JOB --fail --charged AMOUNT`", job)
        lines.append(f"  an attempt's cost is still open; once the provider's history shows it: {cell(settle)}")
    return lines


def _clock(moment: Any) -> str:
    return f"{moment:%H:%M:%S.%f}"[:-3]
