"""When a person held a batch: nothing more is bought for it until it is released."""

from alembic import op

revision = "0020"
down_revision = "0019"
expands = True  # code of the version before buys nothing for jobs that are on hold; it only puts no more jobs on hold


def upgrade() -> None:
    """Add the time of the hold; NULL for a batch that goes on."""
    op.execute("ALTER TABLE batch ADD COLUMN held_at timestamptz")
