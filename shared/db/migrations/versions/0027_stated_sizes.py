"""The size of an image as its provider states it, to compare with what comes."""

from alembic import op

revision = "0027"
down_revision = "0026"
expands = True  # code of the version before neither reads nor writes it


def upgrade() -> None:
    """Add the stated width and height, in pixels."""
    op.execute("ALTER TABLE image ADD COLUMN stated_width integer, ADD COLUMN stated_height integer")
