"""What the money promises need: caps, ramps after a pause, quiet times, cancelling after the purchase, crash counts."""

from alembic import op

revision = "0002"
down_revision = "0001"

_ACCOUNT = """
ALTER TABLE account
  ADD COLUMN daily_cap numeric CHECK (daily_cap >= 0),
  ADD COLUMN ramp integer CHECK (ramp > 0),
  ADD COLUMN probe_at timestamptz,
  ADD COLUMN probes integer NOT NULL DEFAULT 0,
  ADD COLUMN needs numeric
"""

_BATCH = "ALTER TABLE batch ADD COLUMN caps jsonb NOT NULL DEFAULT '{}'"

_JOB = """
ALTER TABLE job
  ADD COLUMN company smallint,
  ADD COLUMN crashes smallint NOT NULL DEFAULT 0,
  ADD COLUMN parked boolean NOT NULL DEFAULT false,
  ADD COLUMN cancel_requested_at timestamptz;
DROP INDEX job_dispatch;
CREATE INDEX job_dispatch ON job (account, priority DESC, turn) WHERE state = 'queued' AND NOT parked;
CREATE INDEX job_parked ON job (account, batch_id) WHERE parked;
"""

_SUBMISSION = """
ALTER TABLE submission
  ADD COLUMN batch_id uuid REFERENCES batch (id),
  ADD COLUMN quiet_at timestamptz,
  ADD COLUMN inferred boolean NOT NULL DEFAULT false;
UPDATE submission SET batch_id = job.batch_id, quiet_at = send_by + interval '10 minutes'
  FROM job WHERE job.id = submission.job_id;
ALTER TABLE submission ALTER COLUMN batch_id SET NOT NULL, ALTER COLUMN quiet_at SET NOT NULL;
CREATE INDEX submission_day ON submission (account, opened_at) INCLUDE (outcome, reserved, settled);
CREATE INDEX submission_batch ON submission (batch_id, account) INCLUDE (outcome, reserved, settled);
"""

_STRAY = """
CREATE TABLE stray (
  account text NOT NULL REFERENCES account (name),
  upstream_id text NOT NULL,
  made_at timestamptz NOT NULL,
  found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  note text NOT NULL,
  PRIMARY KEY (account, upstream_id)
);
ALTER TABLE account ADD COLUMN swept_until timestamptz, ADD COLUMN sweep_at timestamptz;
"""


def upgrade() -> None:
    """Add the columns, the indexes that caps are counted by, and the table of purchases that nobody owns."""
    for statement in (_ACCOUNT, _BATCH, _JOB, _SUBMISSION, _STRAY):
        op.execute(statement)
