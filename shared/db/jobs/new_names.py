"""The rule for the names of new batches, where a batch may be there already under a name that the rule forbids."""

from typing import Final

from sqlalchemy import Connection, text

from shared.batch_names import can_be_stored, name_complaint

INVALID: Final = "row_invalid"
"""The code of a job whose row was wrong."""
# Rows by SQL that were refused for the name of their batch are failed jobs of a batch of that name. It does not count.
_THERE: Final = text(f"""
SELECT EXISTS (SELECT FROM job JOIN batch ON batch.id = job.batch_id
  WHERE batch.name = :name AND job.error_code IS DISTINCT FROM '{INVALID}')
""")


def new_name_complaint(connection: Connection, batch: str) -> str | None:
    """Say what is wrong with a batch's name; None if nothing is, or if the batch has jobs already."""
    complaint = name_complaint(batch)
    if complaint is None or not can_be_stored(batch):
        return complaint
    return None if connection.execute(_THERE, {"name": batch}).scalar_one() else complaint
