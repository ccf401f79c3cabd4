"""Pictures that are kept although they could not be verified, and the hash of what was refused last."""

from alembic import op

revision = "0008"
down_revision = "0007"

_UNVERIFIED = """
ALTER TABLE image
  ADD COLUMN refused_sha256 bytea,
  DROP CONSTRAINT image_stored_has_object,
  ADD CONSTRAINT image_stored_has_object CHECK (state <> 'stored' OR (key IS NOT NULL AND sha256 IS NOT NULL));
"""


def upgrade() -> None:
    """Let an image that is not stored have an object; of images from before, nobody knows what was refused."""
    op.execute(_UNVERIFIED)
