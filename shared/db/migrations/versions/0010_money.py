"""Money told apart: paid elsewhere, charged at an unknown price, offered at a stated one, billed by the day."""

from alembic import op

revision = "0010"
down_revision = "0009"

# The two indexes answer what counts under a cap by themselves, so they need the new column too.
_PAID = """
ALTER TABLE submission ADD COLUMN elsewhere numeric NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN elsewhere numeric NOT NULL DEFAULT 0;
DROP INDEX submission_day;
DROP INDEX submission_batch;
CREATE INDEX submission_day ON submission (account, opened_at) INCLUDE (outcome, reserved, settled, elsewhere);
CREATE INDEX submission_batch ON submission (batch_id, account) INCLUDE (outcome, reserved, settled, elsewhere);
CREATE INDEX submission_unpriced ON submission (account) WHERE outcome = 'accepted' AND settled IS NULL;
ALTER TABLE balance_reading ADD COLUMN unpriced_settled integer NOT NULL DEFAULT 0;
UPDATE balance_reading SET unpriced_settled = found.calls FROM (
  SELECT account, count(*) AS calls FROM submission WHERE outcome = 'accepted' AND settled IS NULL GROUP BY account
) AS found WHERE found.account = balance_reading.account;
"""
# A reading from before held both figures in one sum, and is compared with none from now on.
_READ = """
ALTER TABLE usage_reading ADD COLUMN elsewhere numeric;
CREATE TABLE cost_reading (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account text NOT NULL REFERENCES account (name),
  key_id text NOT NULL,
  day date NOT NULL,
  asked_at timestamptz NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  cost numeric NOT NULL
);
CREATE INDEX cost_reading_day ON cost_reading (account, key_id, day, at);
"""
_OFFERED = """
CREATE TABLE offer_reading (
  account text PRIMARY KEY REFERENCES account (name),
  due_at timestamptz NOT NULL,
  read_at timestamptz,
  source text NOT NULL DEFAULT '',
  whole boolean NOT NULL DEFAULT false,
  note text
);
CREATE TABLE offer (
  account text NOT NULL REFERENCES account (name),
  model text NOT NULL,
  read_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  document jsonb NOT NULL,
  PRIMARY KEY (account, model)
);
CREATE TABLE offer_change (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account text NOT NULL REFERENCES account (name),
  model text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  before numeric,
  after numeric
);
CREATE INDEX offer_change_account ON offer_change (account, id);
"""


def upgrade() -> None:
    """Add columns, indexes and tables; what was charged at an unknown price before is counted as such from now on."""
    for statements in (_PAID, _READ, _OFFERED):
        op.execute(statements)
