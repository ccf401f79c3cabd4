"""What providers said that a key has used up, and what must be known of a call to judge it by that."""

from alembic import op

revision = "0004"
down_revision = "0003"

_USAGE = """
CREATE TABLE usage_reading (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account text NOT NULL REFERENCES account (name),
  key_id text NOT NULL,
  asked_at timestamptz NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  used numeric NOT NULL
);
CREATE INDEX usage_reading_key ON usage_reading (account, key_id, at);
ALTER TABLE submission
  ADD COLUMN key_id text,
  ADD COLUMN stated boolean NOT NULL DEFAULT false,
  ADD COLUMN sender_over boolean NOT NULL DEFAULT false;
"""


def upgrade() -> None:
    """Add the readings and the columns; of calls from before, nobody knows the key, and no usage can judge them."""
    op.execute(_USAGE)
