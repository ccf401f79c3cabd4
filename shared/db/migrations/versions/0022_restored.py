"""How far the ledger had come when that was last noted outside the database, and restores that lost rows."""

from alembic import op

revision = "0022"
down_revision = "0021"
expands = True  # code of the version before neither reads nor writes the tables

_TABLES = """
CREATE TABLE high_water (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  lineage uuid NOT NULL DEFAULT gen_random_uuid(),
  line bigint NOT NULL DEFAULT 0
);
CREATE TABLE restoration (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  has_until timestamptz,
  lacks_until timestamptz NOT NULL,
  ended_at timestamptz
);
"""


def upgrade() -> None:
    """Add the tables. Workers make the row of `high_water`."""
    op.execute(_TABLES)
