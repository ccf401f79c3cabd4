"""The first schema: accounts, batches, jobs, attempts to pay, images, events, rate slots, ledger, workers."""

from alembic import op

revision = "0001"
down_revision = None

_ACCOUNT = """
CREATE TABLE account (
  name text PRIMARY KEY,
  provider text NOT NULL,
  unit text NOT NULL,
  concurrency integer NOT NULL CHECK (concurrency > 0),
  windows jsonb NOT NULL DEFAULT '[]',
  turn bigint NOT NULL DEFAULT 0,
  not_before timestamptz,
  doubts integer NOT NULL DEFAULT 0,
  paused_at timestamptz,
  paused_code text,
  paused_reason text,
  action_url text,
  balance numeric,
  notes text,
  seen_at timestamptz,
  CONSTRAINT account_paused_has_reason CHECK ((paused_at IS NULL) = (paused_code IS NULL))
)
"""

_BATCH = """
CREATE TABLE batch (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  on_unknown text NOT NULL DEFAULT 'hold' CHECK (on_unknown IN ('hold', 'resend')),
  created_at timestamptz NOT NULL DEFAULT now()
)
"""

_JOB = """
CREATE TABLE job (
  id uuid PRIMARY KEY,
  batch_id uuid NOT NULL REFERENCES batch (id),
  custom_id text NOT NULL,
  account text NOT NULL REFERENCES account (name),
  provider text NOT NULL,
  request jsonb NOT NULL,
  fingerprint bytea NOT NULL,
  images integer NOT NULL CHECK (images BETWEEN 1 AND 10),
  state text NOT NULL,
  due_at timestamptz,
  epoch integer NOT NULL DEFAULT 0,
  claimed_by text,
  priority smallint NOT NULL DEFAULT 0,
  turn bigint NOT NULL DEFAULT 0,
  tries integer NOT NULL DEFAULT 0,
  link_expires_at timestamptz,
  deadline_at timestamptz NOT NULL,
  collect_until timestamptz NOT NULL,
  error_code text,
  error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  UNIQUE (batch_id, custom_id),
  CONSTRAINT job_state_known CHECK (state IN ('queued', 'submitting', 'pending', 'processing', 'transferring',
    'in_doubt', 'succeeded', 'failed', 'cancelled')),
  CONSTRAINT job_finished_iff_final
    CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled'))),
  CONSTRAINT job_due_iff_not_final CHECK ((due_at IS NULL) = (state IN ('succeeded', 'failed', 'cancelled'))),
  CONSTRAINT job_failed_has_code CHECK (state NOT IN ('failed', 'in_doubt') OR error_code IS NOT NULL)
);
CREATE INDEX job_dispatch ON job (account, priority DESC, turn) WHERE state = 'queued';
CREATE INDEX job_poll ON job (account, due_at) WHERE state IN ('pending', 'processing');
CREATE INDEX job_transfer ON job (account, link_expires_at, due_at) WHERE state = 'transferring';
CREATE INDEX job_reconcile ON job (account, due_at) WHERE state IN ('submitting', 'in_doubt');
CREATE INDEX job_claimed ON job (account, state) WHERE claimed_by IS NOT NULL;
CREATE INDEX job_deadline ON job (deadline_at) WHERE state = 'queued';
CREATE INDEX job_batch_state ON job (batch_id, state);
"""

_SUBMISSION = """
CREATE TABLE submission (
  id uuid PRIMARY KEY,
  job_id uuid NOT NULL REFERENCES job (id),
  epoch integer NOT NULL,
  account text NOT NULL REFERENCES account (name),
  sender text NOT NULL,
  sender_lock bigint NOT NULL,
  opened_at timestamptz NOT NULL DEFAULT now(),
  send_by timestamptz NOT NULL,
  outcome text CHECK (outcome IN ('not_sent', 'rejected', 'accepted', 'unknown')),
  answered_at timestamptz,
  http_status integer,
  upstream_id text,
  error_code text,
  error text,
  reserved numeric,
  settled numeric,
  unit text NOT NULL,
  UNIQUE (job_id, epoch),
  UNIQUE (account, upstream_id)
);
CREATE UNIQUE INDEX submission_one_open ON submission (job_id) WHERE outcome IS NULL;
"""

_IMAGE = """
CREATE TABLE image (
  job_id uuid NOT NULL REFERENCES job (id),
  index integer NOT NULL,
  submission_id uuid NOT NULL REFERENCES submission (id),
  account text NOT NULL REFERENCES account (name),
  upstream_id text,
  state text NOT NULL CHECK (state IN ('pending', 'processing', 'ready', 'stored', 'upstream_only', 'failed')),
  link text,
  link_expires_at timestamptz,
  tries integer NOT NULL DEFAULT 0,
  error_code text,
  error text,
  bucket text,
  key text,
  sha256 bytea,
  bytes bigint,
  content_type text,
  width integer,
  height integer,
  stored_at timestamptz,
  PRIMARY KEY (job_id, index),
  UNIQUE (account, upstream_id),
  CONSTRAINT image_stored_has_object CHECK ((state = 'stored') = (key IS NOT NULL AND sha256 IS NOT NULL)),
  CONSTRAINT image_failed_has_code CHECK (state <> 'failed' OR error_code IS NOT NULL)
)
"""

_EVENT = """
CREATE TABLE job_event (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id uuid NOT NULL REFERENCES job (id),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  epoch integer NOT NULL,
  from_state text NOT NULL,
  to_state text NOT NULL,
  actor text NOT NULL,
  code text,
  note text
);
CREATE INDEX job_event_job ON job_event (job_id, id);
"""

_SLOT = """
CREATE TABLE request_slot (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account text NOT NULL REFERENCES account (name),
  taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind text NOT NULL CHECK (kind IN ('submit', 'poll'))
);
CREATE INDEX request_slot_window ON request_slot (account, taken_at);
"""

_LEDGER = """
CREATE TABLE ledger (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  submission_id uuid NOT NULL REFERENCES submission (id),
  job_id uuid NOT NULL REFERENCES job (id),
  account text NOT NULL REFERENCES account (name),
  kind text NOT NULL CHECK (kind IN ('reserve', 'settle', 'release', 'hold')),
  unit text NOT NULL,
  reserved numeric NOT NULL DEFAULT 0,
  settled numeric NOT NULL DEFAULT 0,
  held numeric NOT NULL DEFAULT 0
);
CREATE INDEX ledger_job ON ledger (job_id);
CREATE INDEX ledger_submission ON ledger (submission_id);
"""

_WORKER = """
CREATE TABLE worker (
  name text PRIMARY KEY,
  lock_key bigint NOT NULL,
  slots integer NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  last_tick_at timestamptz NOT NULL DEFAULT now()
)
"""


def upgrade() -> None:
    """Create every table, the invariants that the database itself holds, and the index of each stage."""
    for statement in (_ACCOUNT, _BATCH, _JOB, _SUBMISSION, _IMAGE, _EVENT, _SLOT, _LEDGER, _WORKER):
        op.execute(statement)
