"""What is wrong around each worker: the bucket, the broker, its disk. It only adds a table."""

from alembic import op

revision = "0018"
down_revision = "0017"
expands = True  # code of the version before writes no trouble, and this code does without the table

_TROUBLE = """
CREATE TABLE trouble (
  worker text NOT NULL,
  kind text NOT NULL,
  said text NOT NULL,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (worker, kind)
)
"""


def upgrade() -> None:
    """Add the table. Its rows name no worker's row: what a worker last said may outlive it for a moment."""
    op.execute(_TROUBLE)
