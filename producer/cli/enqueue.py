"""`genqueue enqueue FILE`: check a whole prompt file, then add its new rows to a batch."""

import json
from typing import Annotated, Any

import typer

from producer.cli.own_files import (
    BatchName,
    Column,
    CustomId,
    Encoding,
    FileFormat,
    Keep,
    KeepColumns,
    MaxCost,
    Model,
    Prompt,
    PromptFile,
    Provider,
    Sample,
    batch_name,
    rules_of,
)
from producer.cli.session import client, errors
from producer.cli.terminal import Terminal
from producer.client import Client
from shared.db.jobs.enqueue import Enqueued
from shared.notes import counted
from shared.policies import OnUnknown


def enqueue(
    context: typer.Context,
    file: PromptFile,
    provider: Provider = None,
    batch: BatchName = None,
    on_unknown: Annotated[
        OnUnknown | None,
        typer.Option(help="policy for a lost call that is proved unbought; default: hold"),
    ] = None,
    max_cost: MaxCost = None,
    file_format: FileFormat = "auto",
    prompt: Prompt = None,
    custom_id: CustomId = None,
    column: Column = None,
    keep_columns: KeepColumns = False,
    keep: Keep = None,
    model: Model = None,
    sample: Sample = None,
    encoding: Encoding = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="buy edited rows as new revisions: hero@2 beside hero")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="watch the batch until every job has ended or is held")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Add a prompt file to a batch: all rows or none; the same file again adds only new rows.

    --on-unknown hold (the default): the queue never pays twice by itself. If
    the answer to a paid call is lost and its purchase is not found, a person
    decides.

    --on-unknown resend: the queue sends such a job again, at most twice, if the
    provider's own list or usage proves that nothing was bought. If the provider
    hides a purchase, each such call may be charged a second time.

    A row that you edited after it was enqueued is refused, unless you say
    --changed: then it is bought as a new revision, and the others stay as they
    are. Edited metadata replaces that of the job, and costs nothing. --sample N
    tries the first N rows; the same command without it adds the rest.

    Example: genqueue enqueue prompts.csv --provider bloom --batch spring --wait
    """
    name = batch_name(file, batch)
    own: dict[str, Any] = {"keep_columns": keep_columns, "keep": keep, "prompt": prompt, "custom_id": custom_id}
    rules = rules_of(**own, column=column, model=model, sample=sample, encoding=encoding)
    terms: dict[str, Any] = {"on_unknown": on_unknown, "max_cost": max_cost or (), "changed": changed}
    with client(context) as opened:
        added = opened.enqueue_file(
            file, batch=name, provider=provider, format=file_format, local_files=True, rules=rules, **terms
        )
        _tell(opened, name, added, as_json=as_json)
        if wait:
            from producer.cli.watch import follow  # noqa: PLC0415 - most do not wait, and need no moving table

            raise typer.Exit(follow(opened, name))
        if opened.live_workers() == 0:
            errors().print("no worker runs: start one with `genqueue up` or `genqueue worker`")


def _tell(opened: Client, batch: str, added: Enqueued, *, as_json: bool) -> None:
    purpose = opened.purpose()
    there = added.given - added.added
    known = f", {there:,} already there" if there else ""
    known += f", metadata of {added.renewed:,} renewed" if added.renewed else ""
    errors().print(f"{purpose.label}: batch {batch}: {counted(added.added, 'job')} enqueued{known}")
    if as_json:
        given = {
            "batch": batch,
            "rows": added.given,
            "added": added.added,
            "known": there,
            "renewed": added.renewed,
            "purpose": purpose.value,
        }
        Terminal(soft_wrap=True).print_json(json.dumps(given), ensure_ascii=True)
