"""${message}."""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
expands = False  # True only if code from before and from after it works on either side: see shared/db/schema.py


def upgrade() -> None:
    """${message}."""
