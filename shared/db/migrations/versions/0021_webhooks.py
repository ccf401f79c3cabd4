"""Who is told what, and the deliveries that tell them: written by triggers, in the transaction of what they tell of.

So code of the version before tells of its moves too. Without an endpoint a trigger only looks whether there is one.
"""

from alembic import op
from sqlalchemy import text

revision = "0021"
down_revision = "0020"
expands = True  # code of the version before sends nothing; what its moves tell of waits for a newer worker

_TABLES = """
CREATE TABLE endpoint (
  id uuid PRIMARY KEY,
  kind text NOT NULL CONSTRAINT endpoint_kind_known CHECK (kind IN ('webhook', 'celery')),
  url text NOT NULL,
  types text[] NOT NULL,
  batch_prefix text NOT NULL DEFAULT '',
  secret_version integer NOT NULL DEFAULT 1,
  rotated_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  failures integer NOT NULL DEFAULT 0,
  failing_since timestamptz,
  held_until timestamptz,
  disabled_at timestamptz,
  disabled_code text,
  CONSTRAINT endpoint_disabled_has_code CHECK ((disabled_at IS NULL) = (disabled_code IS NULL))
);
CREATE TABLE delivery (
  id uuid PRIMARY KEY,
  endpoint_id uuid NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
  event_key text NOT NULL,
  type text NOT NULL,
  job_id uuid,
  data jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  due_at timestamptz DEFAULT clock_timestamp(),
  tries integer NOT NULL DEFAULT 0,
  status integer,
  error text,
  milliseconds integer,
  delivered_at timestamptz,
  ended_at timestamptz,
  CONSTRAINT delivery_once UNIQUE (endpoint_id, event_key),
  CONSTRAINT delivery_due_iff_open CHECK ((due_at IS NULL) = (ended_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX delivery_due ON delivery (endpoint_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_newest ON delivery (endpoint_id, created_at);
CREATE INDEX delivery_ended ON delivery (ended_at) WHERE ended_at IS NOT NULL;
CREATE TABLE job_notify (
  job_id uuid PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
  endpoint_id uuid NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE
);
CREATE INDEX job_notify_endpoint ON job_notify (endpoint_id);
CREATE TABLE batch_news (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch_id uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE TABLE batch_settled (
  batch_id uuid PRIMARY KEY REFERENCES batch (id) ON DELETE CASCADE,
  revision integer NOT NULL,
  counts jsonb
);
"""
_DATA_OF_JOB = """
jsonb_strip_nulls(jsonb_build_object(
  'job_id', j.id, 'batch', b.name, 'custom_id', j.custom_id, 'provider', j.provider, 'account', j.account,
  'state', j.state, 'error_code', j.error_code, 'images_asked', j.images,
  'images_stored', (SELECT count(*) FROM image WHERE image.job_id = j.id AND image.state = 'stored'),
  'cost', (SELECT jsonb_build_object('settled', coalesce(sum(s.settled), 0)::text, 'unit', min(s.unit))
    FROM submission s WHERE s.job_id = j.id AND s.outcome = 'accepted' HAVING count(*) > 0)))
"""
# An end is told once for each event. A hold is told once for each reason, until something was bought in between; what
# holds a whole batch is told once for the batch, or was a person's own command.
_TELL_OF_JOBS = f"""
CREATE FUNCTION tell_of_jobs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {{schema}}, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM endpoint WHERE disabled_at IS NULL) THEN
    RETURN NULL;
  END IF;
  INSERT INTO delivery (id, endpoint_id, event_key, type, job_id, data)
  SELECT gen_random_uuid(), endpoint.id, news.event_key, news.type, news.job_id, news.data FROM (
    SELECT j.id AS job_id, b.name AS batch, {_DATA_OF_JOB} AS data,
      CASE WHEN e.to_state IN ('succeeded', 'failed', 'cancelled') THEN 'job.' || e.to_state ELSE 'job.held' END
        AS type,
      CASE WHEN e.to_state IN ('succeeded', 'failed', 'cancelled') THEN 'event ' || e.id
        ELSE 'held ' || j.id || ' ' || e.code || ' ' || (SELECT count(*) FROM submission s WHERE s.job_id = j.id)
      END AS event_key
    FROM new_rows e JOIN job j ON j.id = e.job_id JOIN batch b ON b.id = j.batch_id
    WHERE (e.from_state <> e.to_state AND e.to_state IN ('succeeded', 'failed', 'cancelled'))
      OR (j.on_hold AND j.due_at IS NOT NULL AND e.code = j.error_code
        AND e.code NOT IN ('batch_held', 'batch_cap_reached'))
    UNION ALL
    SELECT NULL, b.name, jsonb_build_object('batch', b.name, 'provider', j.provider, 'cap', b.caps ->> j.provider),
      'cap.reached', 'cap ' || b.id || ' ' || j.provider || ' ' || coalesce(b.caps ->> j.provider, '')
    FROM new_rows e JOIN job j ON j.id = e.job_id JOIN batch b ON b.id = j.batch_id
    WHERE e.code = 'batch_cap_reached' AND j.on_hold
    GROUP BY b.id, j.provider
  ) AS news JOIN endpoint ON endpoint.disabled_at IS NULL AND (
    (endpoint.kind = 'webhook' AND news.type = ANY(endpoint.types) AND starts_with(news.batch, endpoint.batch_prefix))
    OR endpoint.id = (SELECT n.endpoint_id FROM job_notify n WHERE n.job_id = news.job_id))
  ON CONFLICT (endpoint_id, event_key) DO NOTHING;
  IF EXISTS (SELECT FROM endpoint WHERE disabled_at IS NULL AND 'batch.settled' = ANY(types)) THEN
    INSERT INTO batch_news (batch_id)
    SELECT DISTINCT j.batch_id FROM new_rows e JOIN job j ON j.id = e.job_id
    WHERE e.from_state <> e.to_state AND (e.from_state IN ('succeeded', 'failed', 'cancelled') OR j.due_at IS NULL)
      OR j.on_hold;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER job_event_told AFTER INSERT ON job_event
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_of_jobs();
"""
_TELL_OF_ACCOUNTS = """
CREATE FUNCTION tell_of_account() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE
  told text := CASE WHEN NEW.paused_at IS NULL THEN 'account.resumed' ELSE 'account.paused' END;
BEGIN
  INSERT INTO delivery (id, endpoint_id, event_key, type, data)
  SELECT gen_random_uuid(), id, told || ' ' || NEW.name || ' ' || clock_timestamp(), told,
    jsonb_strip_nulls(jsonb_build_object('account', NEW.name, 'provider', NEW.provider,
      'code', coalesce(NEW.paused_code, OLD.paused_code)))
  FROM endpoint WHERE disabled_at IS NULL AND told = ANY(types)
  ON CONFLICT (endpoint_id, event_key) DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER account_told AFTER UPDATE OF paused_at ON account FOR EACH ROW
  WHEN ((OLD.paused_at IS NULL) <> (NEW.paused_at IS NULL)) EXECUTE FUNCTION tell_of_account();
"""


def upgrade() -> None:
    """Add the tables, and the triggers that write deliveries."""
    schema = op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(_TABLES)
    for function in (_TELL_OF_JOBS, _TELL_OF_ACCOUNTS):
        op.execute(text(function.replace("{schema}", schema).replace(":", "\\:")))
