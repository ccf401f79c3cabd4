"""Who told the queue to do what: one line for each command of a person. It only adds a table."""

from alembic import op

revision = "0014"
down_revision = "0013"

_AUDIT = """
CREATE TABLE audit (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL,
  door text NOT NULL,
  act text NOT NULL,
  terms text NOT NULL,
  batch text,
  account text,
  error_code text,
  job uuid,
  changed integer NOT NULL CONSTRAINT audit_changed_something CHECK (changed > 0),
  worst_cost jsonb NOT NULL,
  unpriced integer NOT NULL
)
"""


def upgrade() -> None:
    """Add the table. Its lines name batches, accounts and jobs by text: they stay when those rows go."""
    op.execute(_AUDIT)
    op.execute("CREATE INDEX audit_newest ON audit (at, id)")
