"""What workers know of an account that a plan needs: its own prices, and whether it has a brand."""

from alembic import op

revision = "0024"
down_revision = "0023"
expands = True  # code of the version before registers accounts without it, and plans by its own settings


def upgrade() -> None:
    """Add the terms; NULL until a worker of this version has registered the account."""
    op.execute("ALTER TABLE account ADD COLUMN terms jsonb")
