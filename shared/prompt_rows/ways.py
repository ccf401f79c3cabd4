"""What a person can do about a fault, in the words of the door that they came by."""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The remedies of one door; `{column}` stands for a column's name. Empty: this door has none."""

    encoding: str
    """For a file that is not UTF-8."""
    provider: str
    """For rows that name no provider."""
    model: str
    """For rows that name no model, where the provider needs one."""
    columns: str
    """For columns that are not ours."""
    template: str
    """What else makes a column that the file has already."""
    changed: str
    """For a custom_id that stands for another request."""
    keep: str = ""
    """For a column that has a name of ours and means something else."""
    prompt: str = ""
    """For a file without prompts."""
    column: str = ""
    """For a column of theirs that stands for one of ours, `{ours}`."""


COMMAND_LINE: Final = Ways(
    encoding="try --encoding cp1252, or another that it was saved in",
    provider="name a default (--provider)",
    model="name one for all rows (--model NAME)",
    columns="--keep-columns carries such columns along, into the results",
    template="--{column}",
    changed="--changed buys changed rows as new revisions, another batch name buys all rows again",
    keep="--keep {column}",
    prompt="make prompts of your columns: --prompt 'a photo of {{{column}}}'",
    column="--column '{ours}={column}' takes it for {ours}",
)
FORM: Final = Ways(
    encoding="try cp1252 under 'Encoding', or another that it was saved in",
    provider="choose a default under 'Provider of rows that name none'",
    model="name one under 'Model of rows that name none'",
    columns="'Carry columns of your own along, into the results' takes such columns",
    template="the form",
    changed="another batch name buys all rows again, `genqueue enqueue --changed` only the changed ones",
    prompt="make prompts of your columns under 'Prompt made of columns': a photo of {{{column}}}",
    column="'Columns under other names' takes it for {ours}: {ours}={column}",
)
PROGRAM: Final = Ways(
    encoding="send it as UTF-8",
    provider="name a default beside the rows (provider)",
    model="give it in the row",
    columns="what is your own goes into metadata",
    template="a template",
    changed="the same request again is free; give a changed one a custom_id of its own",
)
"""Of the HTTP API's jobs and its client, Celery, SQL and Python."""
UPLOAD: Final = replace(PROGRAM, column="?column={ours}={column} in the address takes it for {ours}")
"""Of the HTTP API's prompt files."""
