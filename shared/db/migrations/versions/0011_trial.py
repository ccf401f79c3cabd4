"""What the database is for: a trial's simulated jobs, or real ones; one row, written before anything is paid for."""

from alembic import op

revision = "0011"
down_revision = "0010"

_PURPOSE = """
CREATE TABLE purpose (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  kind text NOT NULL CHECK (kind IN ('trial', 'real')),
  decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


def upgrade() -> None:
    """Add the table, empty: of a database from before, the first start decides, and holds what a trial left in it."""
    op.execute(_PURPOSE)
