"""What is known of kept answers: the hash of what arrived, how many images are in it, and where unreadable ones are."""

from alembic import op

revision = "0007"
down_revision = "0006"

_KEPT = """
ALTER TABLE submission
  ADD COLUMN reply_sha256 bytea,
  ADD COLUMN reply_images integer,
  ADD COLUMN kept_as text;
ALTER TABLE account ADD COLUMN largest_reply bigint NOT NULL DEFAULT 0;
"""


def upgrade() -> None:
    """Add the columns; of answers from before, no hash is known, and none is compared."""
    op.execute(_KEPT)
