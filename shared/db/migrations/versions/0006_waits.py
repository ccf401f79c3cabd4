"""What looks and downloads learned so far: findings not believed yet, and failures in a row."""

from alembic import op

revision = "0006"
down_revision = "0005"

_WAITS = """
ALTER TABLE image
  ADD COLUMN lacking_looks integer NOT NULL DEFAULT 0,
  ADD COLUMN lacking_since timestamptz,
  ADD COLUMN short_sha256 bytea;
CREATE INDEX image_lacking ON image (account) WHERE lacking_looks > 0;
ALTER TABLE account
  ADD COLUMN found_at timestamptz,
  ADD COLUMN looks_failing_since timestamptz,
  ADD COLUMN unfetched uuid[] NOT NULL DEFAULT '{}';
UPDATE job SET due_at = now() WHERE due_at > greatest(collect_until, deadline_at, now() + interval '400 days');
"""


def upgrade() -> None:
    """Add the columns, and have jobs looked at again whose wait a server had set beyond every bound."""
    op.execute(_WAITS)
