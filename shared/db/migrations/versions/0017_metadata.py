"""The caller's own facts about a job, such as the columns of a product list, in a table that no worker's work reads."""

from alembic import op

revision = "0017"
down_revision = "0016"
expands = True  # code of the version before neither writes nor reads it; its deletions cascade

# A table of its own, because a job's row is rewritten a dozen times and these facts never.
_JOB_METADATA = """
CREATE TABLE job_metadata (
  job_id uuid PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
  metadata jsonb NOT NULL CONSTRAINT job_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX job_metadata_search ON job_metadata USING gin (metadata jsonb_path_ops);
"""


def upgrade() -> None:
    """Add the table and the index that finds a job by a key and its value."""
    op.execute(_JOB_METADATA)
