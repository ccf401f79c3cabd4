"""What must be known of a lost call before a list may prove that it bought nothing."""

from alembic import op

revision = "0005"
down_revision = "0004"

_PROOF = """
ALTER TABLE submission
  ADD COLUMN awaits_purchase boolean NOT NULL DEFAULT false,
  ADD COLUMN probe boolean NOT NULL DEFAULT false;
ALTER TABLE account ADD COLUMN failing integer NOT NULL DEFAULT 0;
"""


def upgrade() -> None:
    """Add the columns; what is held is looked at again, by the stricter rules."""
    op.execute(_PROOF)
    op.execute("UPDATE job SET due_at = now() WHERE state = 'in_doubt' AND due_at IS NOT NULL")
