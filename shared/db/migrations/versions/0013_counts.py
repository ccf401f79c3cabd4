"""Running counts of jobs and running sums of money, kept by triggers, and the indexes that serve look-ups.

Each statement that moves jobs or calls adds its change as a few rows of a delta table: no row is written by all, so
nobody waits. `shared/db/folding.py` adds the deltas up. Sums and deltas together are exact at every moment.
"""

from alembic import op

revision = "0013"
down_revision = "0012"

# The triggers write as the owner of the tables: who enqueues may write a job, and not the counts.
# A sum without a batch is that of all batches; money without a day is that of all days.
_TABLES = """
CREATE TABLE job_count (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch_id uuid,
  provider text NOT NULL,
  state text NOT NULL,
  on_hold boolean NOT NULL,
  error_code text,
  jobs bigint NOT NULL,
  CONSTRAINT job_count_of UNIQUE NULLS NOT DISTINCT (batch_id, provider, state, on_hold, error_code)
) WITH (fillfactor = 60);
CREATE TABLE job_count_delta (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch_id uuid NOT NULL,
  provider text NOT NULL,
  state text NOT NULL,
  on_hold boolean NOT NULL,
  error_code text,
  jobs bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX job_count_delta_batch ON job_count_delta (batch_id);
CREATE TABLE spending (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch_id uuid,
  day date,
  account text NOT NULL,
  unit text NOT NULL,
  {columns},
  CONSTRAINT spending_of UNIQUE NULLS NOT DISTINCT (batch_id, day, account, unit)
) WITH (fillfactor = 60);
CREATE TABLE spending_delta (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch_id uuid NOT NULL,
  day date NOT NULL,
  account text NOT NULL,
  unit text NOT NULL,
  {columns}
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX spending_delta_account ON spending_delta (account);
"""
_COLUMNS = """
  calls bigint NOT NULL DEFAULT 0,
  open bigint NOT NULL DEFAULT 0,
  accepted bigint NOT NULL DEFAULT 0,
  open_unpriced bigint NOT NULL DEFAULT 0,
  settled_unpriced bigint NOT NULL DEFAULT 0,
  held_unpriced bigint NOT NULL DEFAULT 0,
  held bigint NOT NULL DEFAULT 0,
  reserved_amount numeric NOT NULL DEFAULT 0,
  settled_amount numeric NOT NULL DEFAULT 0,
  held_amount numeric NOT NULL DEFAULT 0,
  held_ever_amount numeric NOT NULL DEFAULT 0,
  elsewhere_amount numeric NOT NULL DEFAULT 0,
  gave_back_at timestamptz
"""
_COUNT_JOBS = """
CREATE FUNCTION count_jobs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    INSERT INTO job_count_delta (batch_id, provider, state, on_hold, error_code, jobs)
    SELECT batch_id, provider, state, on_hold, error_code, sum(change) FROM (
      SELECT batch_id, provider, state, on_hold, error_code, 1 AS change FROM new_rows
      UNION ALL SELECT batch_id, provider, state, on_hold, error_code, -1 FROM old_rows
    ) AS moved GROUP BY batch_id, provider, state, on_hold, error_code HAVING sum(change) <> 0;
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO job_count_delta (batch_id, provider, state, on_hold, error_code, jobs)
    SELECT batch_id, provider, state, on_hold, error_code, count(*) FROM new_rows
    GROUP BY batch_id, provider, state, on_hold, error_code;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO job_count_delta (batch_id, provider, state, on_hold, error_code, jobs)
    SELECT batch_id, provider, state, on_hold, error_code, -count(*) FROM old_rows
    GROUP BY batch_id, provider, state, on_hold, error_code;
  ELSE
    DELETE FROM job_count;
    DELETE FROM job_count_delta;
  END IF;
  RETURN NULL;
END $$;
"""
# What one row of `submission` adds to each sum.
_ADDS = """
  count(*) AS calls, count(*) FILTER (WHERE outcome IS NULL) AS open,
  count(*) FILTER (WHERE outcome = 'accepted') AS accepted,
  count(*) FILTER (WHERE outcome IS NULL AND reserved IS NULL) AS open_unpriced,
  count(*) FILTER (WHERE outcome = 'accepted' AND settled IS NULL) AS settled_unpriced,
  count(*) FILTER (WHERE outcome = 'unknown' AND reserved IS NULL) AS held_unpriced,
  count(*) FILTER (WHERE outcome = 'unknown') AS held,
  coalesce(sum(reserved) FILTER (WHERE outcome IS NULL), 0) AS reserved_amount,
  coalesce(sum(settled) FILTER (WHERE outcome = 'accepted'), 0) AS settled_amount,
  coalesce(sum(reserved) FILTER (WHERE outcome = 'unknown'), 0) AS held_amount,
  coalesce(sum(elsewhere) FILTER (WHERE outcome = 'accepted'), 0) AS elsewhere_amount,
  max(answered_at) FILTER (WHERE outcome IN ('rejected', 'not_sent') OR settled + elsewhere < reserved) AS gave_back_at
"""
_KEY = "batch_id, (opened_at AT TIME ZONE 'UTC')::date AS day, account, unit"
_NUMBERS = (
    "calls, open, accepted, open_unpriced, settled_unpriced, held_unpriced, held, reserved_amount, settled_amount, "
    "held_amount, elsewhere_amount"
)
_CHANGES = ", ".join(f"sum(change * {name})" for name in _NUMBERS.split(", "))
_COUNT_SPENDING = f"""
CREATE FUNCTION count_spending() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    INSERT INTO spending_delta (batch_id, day, account, unit, {_NUMBERS}, gave_back_at)
    SELECT batch_id, day, account, unit, {_CHANGES}, max(gave_back_at) FILTER (WHERE change > 0) FROM (
      SELECT 1 AS change, {_KEY}, {_ADDS} FROM new_rows GROUP BY 2, 3, 4, 5
      UNION ALL SELECT -1, {_KEY}, {_ADDS} FROM old_rows GROUP BY 2, 3, 4, 5
    ) AS moved GROUP BY batch_id, day, account, unit
    HAVING ({_CHANGES}) IS DISTINCT FROM ({", ".join("0" for _ in _NUMBERS.split(", "))})
      OR max(gave_back_at) FILTER (WHERE change > 0) IS DISTINCT FROM max(gave_back_at) FILTER (WHERE change < 0);
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO spending_delta (batch_id, day, account, unit, {_NUMBERS}, gave_back_at)
    SELECT {_KEY}, {_ADDS} FROM new_rows GROUP BY 1, 2, 3, 4;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO spending_delta (batch_id, day, account, unit, {_NUMBERS})
    SELECT batch_id, day, account, unit, {", ".join(f"-{name}" for name in _NUMBERS.split(", "))}
    FROM (SELECT {_KEY}, {_ADDS} FROM old_rows GROUP BY 1, 2, 3, 4) AS gone;
  ELSE
    DELETE FROM spending;
    DELETE FROM spending_delta;
  END IF;
  RETURN NULL;
END $$;
"""
# What was ever held never falls, so it cannot be told from the rows as they stand.
_COUNT_HELD = """
CREATE FUNCTION count_held() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO spending_delta (batch_id, day, account, unit, held_ever_amount)
  VALUES (NEW.batch_id, (NEW.opened_at AT TIME ZONE 'UTC')::date, NEW.account, NEW.unit, NEW.reserved);
  RETURN NULL;
END $$;
CREATE TRIGGER submission_held AFTER UPDATE OF outcome ON submission FOR EACH ROW
  WHEN (NEW.outcome = 'unknown' AND OLD.outcome IS DISTINCT FROM 'unknown' AND NEW.reserved <> 0)
  EXECUTE FUNCTION count_held();
"""
_TRIGGERS = """
CREATE TRIGGER {table}_added AFTER INSERT ON {table}
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE TRIGGER {table}_changed AFTER UPDATE ON {table}
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE TRIGGER {table}_gone AFTER DELETE ON {table}
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE TRIGGER {table}_emptied AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {function}();
"""
_COUNT_WHAT_IS_THERE = f"""
INSERT INTO job_count (batch_id, provider, state, on_hold, error_code, jobs)
SELECT batch_id, provider, state, on_hold, error_code, count(*) FROM job
GROUP BY GROUPING SETS ((provider, state, on_hold, error_code), (batch_id, provider, state, on_hold, error_code));
INSERT INTO spending (batch_id, day, account, unit, {_NUMBERS}, gave_back_at)
SELECT batch_id, day, account, unit, {_ADDS} FROM (
  SELECT {_KEY}, outcome, reserved, settled, elsewhere, answered_at FROM submission
) AS call GROUP BY GROUPING SETS ((account, unit), (batch_id, account, unit), (day, account, unit));
UPDATE spending SET held_ever_amount = ever.held FROM (
  SELECT account, unit, sum(greatest(held, 0)) AS held FROM ledger GROUP BY account, unit
) AS ever WHERE ever.account = spending.account AND ever.unit = spending.unit AND batch_id IS NULL AND day IS NULL;
DROP TABLE ledger_sum;
"""
# A custom_id alone names a job too, so it stands first. `job_batch_state` holds each part of a batch in the order of
# ids, so that a page of it is read from where it begins.
_INDEXES = """
ALTER TABLE job DROP CONSTRAINT job_batch_id_custom_id_key,
  ADD CONSTRAINT job_custom_id_batch_id_key UNIQUE (custom_id, batch_id);
DROP INDEX job_batch_state;
CREATE INDEX job_batch_state ON job (batch_id, state, on_hold, id);
DROP INDEX job_on_hold;
CREATE INDEX job_on_hold ON job (account, error_code, batch_id, due_at) WHERE on_hold AND state = 'queued';
CREATE INDEX job_collect ON job (collect_until) WHERE state IN ('pending', 'processing', 'transferring');
CREATE INDEX job_finished ON job (finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX batch_created ON batch (created_at, id);
DROP INDEX submission_batch;
DROP INDEX submission_unpriced;
DROP INDEX submission_day;
CREATE INDEX submission_day ON submission (account, opened_at);
DROP INDEX ledger_account;
CREATE INDEX ledger_account ON ledger (account, at) INCLUDE (submission_id, settled);
"""


def upgrade() -> None:
    """Add the tables, count what is there, and keep the counts from then on."""
    op.execute(_TABLES.format(columns=_COLUMNS))
    op.execute(_INDEXES)
    op.execute("LOCK TABLE job, submission IN SHARE ROW EXCLUSIVE MODE")
    op.execute(_COUNT_WHAT_IS_THERE)
    for function in (_COUNT_JOBS, _COUNT_SPENDING, _COUNT_HELD):
        op.execute(function)
    op.execute(_TRIGGERS.format(table="job", function="count_jobs"))
    op.execute(_TRIGGERS.format(table="submission", function="count_spending"))
