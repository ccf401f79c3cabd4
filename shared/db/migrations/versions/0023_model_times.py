"""How long each account's models took lately. It only adds a table."""

from alembic import op

revision = "0023"
down_revision = "0022"
expands = True  # code of the version before learns nothing, and this code does without the table

_MODEL_TIME = """
CREATE TABLE model_time (
  account text NOT NULL REFERENCES account (name),
  model text NOT NULL,
  sooner double precision[] NOT NULL,
  later double precision[] NOT NULL,
  learned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (account, model)
)
"""


def upgrade() -> None:
    """Add the table. Both arrays are in seconds, newest first: when a look found a job open, and when ready."""
    op.execute(_MODEL_TIME)
