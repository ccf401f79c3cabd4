"""`genqueue explain JOB`: one job's whole story, in order, with its money and what you can do."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from producer.cli.advice import fill
from producer.cli.session import client
from producer.cli.tables import AsJson, cell
from producer.cli.terminal import Terminal, styled
from producer.plan.times import duration
from producer.story import story_document
from shared import catalog
from shared.db.jobs import leftovers
from shared.errors import CODES, COLLECT, ErrorCode
from shared.lifecycle import COLLECTED, FINAL, ImageState, JobState
from shared.notes import counted
from shared.wait_facts import BY_CODE, WaitReason

_PROMPT_CHARS = 60
_HELD = {WaitReason.PERSON, WaitReason.CAP}
_HEAD_LINES = (0, 2)  # which job, and how it stands
_AMOUNTS = ("reserved", "settled", "held", "elsewhere")


def explain(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")],
    as_json: AsJson = False,
) -> None:
    """Explain a job: the request, each attempt to pay, each image, every cent, and what comes next.

    Example: genqueue explain spring/row-000042
    """
    with client(context) as opened:
        job_id = opened.find_job(job)
        story = {**opened.story(job_id), "wait": opened.why(job_id)}
    if as_json:
        typer.echo(json.dumps(story_document(story)))
        return
    console = Terminal(soft_wrap=True)
    for number, line in enumerate(_lines(story)):
        console.print(styled(line, "bold" if number in _HEAD_LINES else ""))


def _lines(story: Mapping[str, Any]) -> list[str]:
    job = story["job"]
    lines = [
        f"{job['batch']}/{job['custom_id']}  {job['id']}",
        f"  {job['provider']} (account {job['account']}), {counted(job['images'], 'image')}: {_asked(job['request'])}",
        f"  {job['state']}{_when(job)}",
        *waits(story),
    ]
    lines += [f"  metadata: {cell(json.dumps(job['metadata'], ensure_ascii=False))}"] if job["metadata"] else []
    lines += why(job)
    lines += kept(story)
    lines += _candidates(story)
    lines += [f"{_clock(row['at'])}  {text}" for row, text in sorted(timeline(story), key=lambda pair: pair[0]["at"])]
    lines += [line for image in story["images"] for line in _image(image, job)]
    return lines + money(story)


def _asked(request: Mapping[str, Any]) -> str:
    prompt = str(request.get("prompt", ""))
    shown = prompt if len(prompt) <= _PROMPT_CHARS else prompt[: _PROMPT_CHARS - 3] + "..."
    others = ", ".join(f"{name}={value}" for name, value in request.items() if name != "prompt")
    return cell(f"{shown!r} {others}".strip())


def _when(job: Mapping[str, Any]) -> str:
    if JobState(job["state"]) in FINAL:
        return f" at {_clock(job['finished_at'])}"
    if job["on_hold"] and job["error_code"] == leftovers.CODE:
        return ", held until you end it"
    if job["on_hold"] and job["state"] == JobState.QUEUED:
        return ", on hold"
    seconds = (job["due_at"] - job["now"]).total_seconds()
    return f", looked at again in {duration(seconds)}" if seconds > 0 else ", due now"


def waits(story: Mapping[str, Any]) -> list[str]:
    """Say what the job waits for, unless its error code says that below."""
    wait, job = story.get("wait"), story["job"]
    if wait is None or wait.reason in _HELD:
        return []
    lines = [f"  waits: {cell(wait)}"]
    return lines + ([f"  you can: {cell(fill(wait.then, job))}"] if wait.then and wait.reason not in BY_CODE else [])


def why(job: Mapping[str, Any]) -> list[str]:
    """Say why the job stands where it is, what the queue does, and what a person can do; each line is indented."""
    lines = []
    code = CODES.get(job["error_code"] or "")
    if job["error_code"]:
        lines.append(f"  {job['error_code']}: {cell(job['error'])}")
    if code:
        lines += [f"  means: {code.meaning}", *_what_now(job, code)]
    return lines + _limits(job)


def kept(story: Mapping[str, Any]) -> list[str]:
    """Name the answers that could not be read, and the command that reads them again."""
    unread = [attempt for attempt in story["submissions"] if attempt["kept_as"] and attempt["outcome"] == "unknown"]
    lines = [f"  the answer is kept as {cell(attempt['kept_as'])}" for attempt in unread]
    if unread and story["job"]["state"] == JobState.IN_DOUBT:
        lines.append(f"  this reads it again, free: {cell(fill('genqueue look-again JOB', story['job']))}")
    return lines


def _candidates(story: Mapping[str, Any]) -> list[str]:
    """Name the pictures at the provider that may be what the lost call bought, and the command that takes one."""
    job = story["job"]
    lines = [
        f"  may be its picture: {cell(one['id'])}, made {one['made_at'] or '?'} UTC" for one in story["candidates"]
    ]
    if lines:
        command = cell(fill("genqueue resolve JOB --bought ID", job))
        lines.append(f"  compare them at the provider or on the dashboard; this collects one, free: {command}")
    return lines


def _what_now(job: Mapping[str, Any], code: ErrorCode) -> list[str]:
    """Say what the queue does and what a person can do. In some states the code alone does not say this."""
    if job["state"] == JobState.IN_DOUBT and not job["on_hold"]:
        does = "holds it"
        if job["cancel_requested_at"]:
            does = "ends it as cancelled if it is proved unbought, else holds it"
        elif job["on_unknown"] == "resend":
            does = "sends it again if it is proved unbought, else holds it"
        return [f"  the queue looks for its purchase and collects it; else it {does}", "  you can: wait for that"]
    if job["state"] in COLLECTED and code.queue_does.startswith("ends"):
        # The job has not ended yet, although its code describes an end: the queue still tries to collect its purchase.
        return [
            f"  the queue tries again automatically until {_last_chance(job)}; nothing is paid again",
            "  you can: wait for that",
        ]
    if job["state"] == JobState.CANCELLED:
        free, _, _buying = COLLECT.partition(";")  # nothing more is bought for it
        return [f"  you can: {cell(fill(free, job))}"] if code.you_can == COLLECT else []
    return [f"  the queue {code.queue_does}", f"  you can: {cell(fill(code.you_can, job))}"]


def _last_chance(job: Mapping[str, Any]) -> str:
    """Say when a bought job is given up: shortly after its link expires, if it has one that does."""
    bound = f"{cell(job['collect_until'])} UTC"
    died = job["state"] == JobState.TRANSFERRING and job["link_expires_at"]
    return (
        f"its link expires ({cell(died)} UTC), at the latest {bound}" if died and died < job["collect_until"] else bound
    )


def _limits(job: Mapping[str, Any]) -> list[str]:
    """Say what also decides how the job goes on: caps, policy, and a cancellation."""
    lines = []
    if job["provider"] in job["caps"]:
        lines.append(f"  its batch may spend {job['caps'][job['provider']]} {job['unit']} at {job['provider']}")
    if job["daily_cap"] is not None and job["state"] == JobState.QUEUED:
        spent = cell(job["spent_today"]) or 0
        lines.append(f"  {job['account']} has spent or set aside {spent} of {cell(job['daily_cap'])} today (UTC)")
    if job["state"] == JobState.IN_DOUBT:
        then = "is held for you" if job["on_hold"] else "is looked up at the provider"
        lines.append(f"  it {then}; its batch says: on unknown {job['on_unknown']}")
        lines += _policy(job)
    if job["cancel_requested_at"] and JobState(job["state"]) not in FINAL:
        lines.append("  cancelled: its purchase is followed to its end, and nothing more is bought")
    return lines


def _policy(job: Mapping[str, Any]) -> list[str]:
    """Say what the policy `resend` would do for a held job whose provider can show that nothing was bought."""
    helps = catalog.get(job["provider"]).shows_lost and not job["cancel_requested_at"]
    if not (job["on_hold"] and job["on_unknown"] == "hold" and helps):
        return []
    return [
        f"  {cell(fill('`genqueue policy BATCH resend` lets the queue send it again', job))}",
        "  if it is proved that nothing was bought. The risk: if the provider hides",
        "  a purchase, that call is charged a second time",
    ]


def timeline(story: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """Return each event and ledger line with its sentence; the row's `at` is its time. They are not in order."""
    told: list[tuple[Mapping[str, Any], str]] = [({"at": story["job"]["created_at"]}, "enqueued")]
    for event in story["events"]:
        said = ": ".join(filter(None, (event["code"], event["note"])))
        why = f"  {cell(said)}" if said else ""
        told.append((event, f"{event['from_state']} -> {event['to_state']}{why}  ({event['actor']})"))
    unpriced = {attempt["id"] for attempt in story["submissions"] if _is_unpriced(attempt)}
    told += [
        (line, f"{line['kind']}: {_moved(line, unpriced=line['submission_id'] in unpriced)}")
        for line in story["ledger"]
    ]
    return told


def _moved(line: Mapping[str, Any], *, unpriced: bool) -> str:
    if line["unit"] == "unbilled":
        return "nothing is charged, unbilled"
    moved = ", ".join(f"{name} {line[name]:+f}" for name in _AMOUNTS if line[name])
    if unpriced and line["kind"] == "settle":
        return f"{moved or 'charged'} {line['unit']}, and nobody knows what it cost"
    return f"{moved or 'price unknown'} {line['unit']}"


def _is_unpriced(attempt: Mapping[str, Any]) -> bool:
    return attempt["outcome"] == "accepted" and attempt["settled"] is None


def _image(image: Mapping[str, Any], job: Mapping[str, Any]) -> list[str]:
    why = f"  {image['error_code']}: {cell(image['error'])}" if image["error_code"] else ""
    if not image["key"]:
        return [f"  image {image['index'] + 1}: {image['state']}{why}"]
    pixels = f"{image['width']}x{image['height']}, " if image["width"] else ""
    where = f"s3://{image['bucket']}/{image['key']}  {pixels}{image['bytes']:,} bytes"
    if image["state"] == ImageState.STORED:
        return [f"  image {image['index'] + 1}: {where}"]
    lines = [f"  image {image['index'] + 1}: {image['state']}{why}", f"    kept, unverified: {where}"]
    if JobState(job["state"]) in FINAL:
        lines.append(f"    you can look at it and accept it as it is: {cell(fill('`genqueue accept JOB`', job))}")
    return lines


def money(story: Mapping[str, Any]) -> list[str]:
    """Say what the job cost so far, and what is open; each line is indented."""
    job = story["job"]
    totals = {name: sum(line[name] for line in story["ledger"]) for name in ("settled", "reserved", "held")}
    if elsewhere := sum(line["elsewhere"] for line in story["ledger"]):
        totals["paid elsewhere with your own key"] = elsewhere
    unit = story["ledger"][0]["unit"] if story["ledger"] else ""
    lines = ["  money: " + ", ".join(f"{name} {cell(total) or 0} {unit}".strip() for name, total in totals.items())]
    if count := sum(map(_is_unpriced, story["submissions"])):
        calls = counted(count, "charged call counts", "charged calls count")
        lines.append(f"  {calls} as 0 in it: the provider stated no cost, and no price was known")
    if JobState(job["state"]) in FINAL and any(attempt["outcome"] == "unknown" for attempt in story["submissions"]):
        settle = fill("`genqueue resolve JOB --fail --charged AMOUNT`", job)
        lines.append(f"  an attempt's cost is still open; once the provider's history shows it: {cell(settle)}")
    return lines


def _clock(moment: Any) -> str:
    return f"{moment:%H:%M:%S.%f}"[:-3]
