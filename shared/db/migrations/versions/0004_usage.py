"""What providers said that a key has used up, and which costs are a provider's own figures."""

from alembic import op

revision = "0004"
down_revision = "0003"

_USAGE = """
CREATE TABLE usage_reading (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account text NOT NULL REFERENCES account (name),
  asked_at timestamptz NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  used numeric NOT NULL
);
CREATE INDEX usage_reading_account ON usage_reading (account, at);
ALTER TABLE submission ADD COLUMN stated boolean NOT NULL DEFAULT false;
"""


def upgrade() -> None:
    """Add the readings, and the mark; of what was settled before, nobody knows whose figure it is."""
    op.execute(_USAGE)
