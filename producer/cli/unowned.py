"""`genqueue unowned`: images in the providers' own lists that no job owns."""

import typer

from producer.cli.session import client
from producer.cli.tables import AsJson, show


def unowned(context: typer.Context, as_json: AsJson = False) -> None:
    """List images in the providers' own lists that no job owns: another user's, or those of lost calls.

    Example: genqueue unowned
    """
    with client(context) as opened:
        rows = opened.unowned()
    show(rows, ("upstream_id", "account", "made_at", "note"), as_json=as_json, also=("found_at",))
