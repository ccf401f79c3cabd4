"""Tokens of the HTTP API and the dashboard, and what each of them ordered within a day."""

from alembic import op

revision = "0016"
down_revision = "0015"
expands = True  # code of the version before has no API

# `purse` is the first token of a chain of rotations: all of them spend from one cap, and lock its row to do so.
_TABLE = """
CREATE TABLE token (
  id text PRIMARY KEY,
  secret_hash bytea NOT NULL,
  name text NOT NULL,
  scopes text[] NOT NULL,
  batch_prefix text NOT NULL,
  caps jsonb,
  posts_per_second integer NOT NULL CONSTRAINT token_takes_posts CHECK (posts_per_second > 0),
  purse text NOT NULL REFERENCES token (id),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
)
"""
_SPENDING = """
CREATE TABLE token_spending (
  purse text NOT NULL REFERENCES token (id),
  provider text NOT NULL,
  began_at timestamptz NOT NULL,
  amount numeric NOT NULL,
  PRIMARY KEY (purse, provider, began_at)
)
"""
_CLEANING = "fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500"


def upgrade() -> None:
    """Add the tables; the second has few rows, each updated at every order of a capped token."""
    op.execute(_TABLE)
    op.execute(_SPENDING)
    op.execute(f"ALTER TABLE token_spending SET ({_CLEANING})")
