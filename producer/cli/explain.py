"""`genqueue explain JOB`: one job's whole story, in order, with money and what you can do."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from producer.cli.listings import AsJson, cell, plain
from producer.cli.session import client
from shared.errors import CODES
from shared.lifecycle import FINAL, JobState

_PROMPT_CHARS = 60
_PRIVATE = {"fingerprint", "link", "sender_lock"}


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
        f"[bold]{job['batch']}/{cell(job['custom_id'])}[/bold]  {job['id']}",
        f"  {job['provider']} (account {job['account']}), {job['images']} image(s): {_asked(job['request'])}",
        f"  [bold]{job['state']}[/bold]{_when(job)}",
    ]
    lines += _why(job)
    lines += [f"{_clock(row['at'])}  {text}" for row, text in sorted(_timeline(story), key=lambda pair: pair[0]["at"])]
    lines += [_image(image) for image in story["images"]]
    lines.append(_money(story))
    return lines


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
        you_can = code.you_can
        for word, value in _names(job).items():
            you_can = you_can.replace(word, value)
        lines += [f"  means: {code.meaning}", f"  the queue {code.queue_does}", f"  you can: {cell(you_can)}"]
    if job["paused_code"] and job["state"] == JobState.QUEUED:
        link = f" ({job['action_url']})" if job["action_url"] else ""
        lines.append(f"  account {job['account']} is paused: {cell(job['paused_reason'])}{link}")
        looked = f" (looked at by itself at {_clock(job['probe_at'])})" if job["probe_at"] else ""
        lines.append(f"  you can: genqueue resume {job['account']}{looked}")
    return lines + _limits(job)


def _names(job: Mapping[str, Any]) -> dict[str, str]:
    """Return what the words of an advice stand for in this job."""
    return {
        "JOB": f"{job['batch']}/{job['custom_id']}",
        "BATCH": str(job["batch"]),
        "ACCOUNT": str(job["account"]),
        "PROVIDER": str(job["provider"]),
    }


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
        why = f"  {event['code']}: {cell(event['note'])}" if event["code"] else ""
        told.append((event, f"{event['from_state']} -> {event['to_state']}{why}  ({event['actor']})"))
    for line in story["ledger"]:
        moved = ", ".join(f"{name} {line[name]:+f}" for name in ("reserved", "settled", "held") if line[name])
        told.append((line, f"{line['kind']}: {moved or 'price unknown'} {line['unit']}"))
    return told


def _image(image: Mapping[str, Any]) -> str:
    if image["key"]:
        size = f"{image['width']}x{image['height']}, {image['bytes']:,} bytes"
        return f"  image {image['index']}: s3://{image['bucket']}/{image['key']}  {size}"
    why = f"  {image['error_code']}: {cell(image['error'])}" if image["error_code"] else ""
    return f"  image {image['index']}: {image['state']}{why}"


def _money(story: Mapping[str, Any]) -> str:
    totals = {name: sum(line[name] for line in story["ledger"]) for name in ("settled", "reserved", "held")}
    unit = story["ledger"][0]["unit"] if story["ledger"] else ""
    return "  money: " + ", ".join(f"{name} {cell(total) or 0} {unit}".strip() for name, total in totals.items())


def _clock(moment: Any) -> str:
    return f"{moment:%H:%M:%S.%f}"[:-3]
