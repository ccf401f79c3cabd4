"""How old rows leave: what their money comes to, what their batches came to, and what a person wants out of the bucket.

Also: how soon PostgreSQL cleans up the tables that turn over.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
expands = True  # code of the version before deletes no rows, and does not ask for what is added

# No foreign keys: these rows outlive what they speak of, and making one would lock `account` against its writers.
_LEDGER_DAY = """
CREATE TABLE ledger_day (
  account text NOT NULL,
  day date NOT NULL,
  kind text NOT NULL,
  unit text NOT NULL,
  provider text NOT NULL,
  batch_id uuid NOT NULL,
  lines bigint NOT NULL,
  reserved numeric NOT NULL,
  settled numeric NOT NULL,
  held numeric NOT NULL,
  elsewhere numeric NOT NULL,
  submissions bigint NOT NULL,
  accepted bigint NOT NULL,
  unpriced bigint NOT NULL,
  first_opened_at timestamptz NOT NULL,
  PRIMARY KEY (account, day, kind, unit, provider, batch_id)
);
CREATE INDEX ledger_day_batch ON ledger_day (batch_id);
"""
_PAST_BATCH = """
CREATE TABLE past_batch (
  batch_id uuid PRIMARY KEY,
  name text NOT NULL,
  created_at timestamptz NOT NULL,
  succeeded bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  left_at timestamptz
);
CREATE INDEX past_batch_name ON past_batch (name);
"""
_DOOMED_OBJECT = """
CREATE TABLE doomed_object (
  key text PRIMARY KEY,
  asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  tries integer NOT NULL DEFAULT 0,
  error_code text
);
CREATE INDEX doomed_object_due ON doomed_object (due_at);
"""
# The first finds what has ended for long enough. Without the second, each submission that leaves reads all of `image`.
_INDEXES = """
CREATE INDEX job_leaving ON job (state, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX image_submission ON image (submission_id);
"""
_CLEANING = {
    # A job is updated a dozen times, and leaves an index at each stage: a claim would step over all that is dead.
    "job": "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, "
    "autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 1000",
    # Updated until its picture is stored; `image_lacking` is read at each look.
    "image": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, "
    "autovacuum_analyze_scale_factor = 0.05",
    # Caps are counted by index alone: only a vacuum marks pages so that the table itself need not be read.
    "submission": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, "
    "autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05",
    # Deleted as fast as written: its size says nothing, so that a part of its size is no measure.
    "request_slot": "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000",
    # Only ever added to: cleaned in small steps, not once in a great one that reads all of it.
    "job_event": "autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05",
    "ledger": "autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05",
    # A few rows, each updated twice a second or at each call: room on the page keeps the new version beside the old.
    "worker": "fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500",
    "account": "fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500",
}


def upgrade() -> None:
    """Add the tables and indexes, and set when each table is cleaned.

    What was spent stays in the running sums when the row of its call leaves.
    """
    op.execute("DROP TRIGGER submission_gone ON submission")
    for statements in (_LEDGER_DAY, _PAST_BATCH, _DOOMED_OBJECT, _INDEXES):
        op.execute(statements)
    for table, settings in _CLEANING.items():
        op.execute(f"ALTER TABLE {table} SET ({settings})")
