"""Since when a worker holds evidence that the database does not take."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; the workers that run write it at their next tick."""
    op.execute("ALTER TABLE worker ADD COLUMN stuck_since timestamptz")
