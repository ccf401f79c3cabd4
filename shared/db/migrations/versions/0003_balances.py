"""What providers said is left, beside what the ledger had recorded at that moment."""

from alembic import op

revision = "0003"
down_revision = "0002"

_BALANCES = """
CREATE TABLE balance_reading (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account text NOT NULL REFERENCES account (name),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  base boolean NOT NULL,
  balance numeric NOT NULL,
  settled numeric NOT NULL,
  held numeric NOT NULL,
  held_ever numeric NOT NULL,
  in_air numeric NOT NULL,
  just_settled numeric NOT NULL,
  unpriced_held integer NOT NULL,
  unpriced_in_air integer NOT NULL
);
CREATE INDEX balance_reading_account ON balance_reading (account, id);
CREATE TABLE ledger_sum (
  account text PRIMARY KEY REFERENCES account (name),
  until timestamptz NOT NULL,
  reserved numeric NOT NULL,
  settled numeric NOT NULL,
  held numeric NOT NULL,
  held_ever numeric NOT NULL
);
CREATE INDEX ledger_account ON ledger (account, at) INCLUDE (reserved, settled, held);
CREATE INDEX submission_undecided ON submission (account) WHERE outcome IS NULL OR outcome = 'unknown';
"""


def upgrade() -> None:
    """Add the readings, the ledger's sums, and the indexes that serve them."""
    op.execute(_BALANCES)
