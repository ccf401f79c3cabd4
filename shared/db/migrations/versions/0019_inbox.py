"""The door for SQL: `enqueue(batch, rows, options)` puts rows into an inbox, in the caller's own transaction.

A worker checks them and makes each a job under the id that the caller got.
"""

from alembic import op
from sqlalchemy import text

revision = "0019"
down_revision = "0018"
expands = True  # code of the version before does not look into the inbox; rows wait there for a newer worker

_INBOX = """
CREATE TABLE inbox (
  id uuid PRIMARY KEY,
  batch text NOT NULL,
  custom_id text NOT NULL,
  request jsonb,
  options jsonb NOT NULL,
  arrived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  taken_at timestamptz,
  note text,
  CONSTRAINT inbox_custom_id_batch_key UNIQUE (custom_id, batch),
  CONSTRAINT inbox_row_until_taken CHECK ((request IS NULL) = (taken_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX inbox_waiting ON inbox (batch, id) WHERE taken_at IS NULL;
CREATE INDEX inbox_taken ON inbox (taken_at) WHERE taken_at IS NOT NULL;
"""
# `genqueue migrate` names this code's providers here each time that it runs.
_PROVIDERS = """
CREATE FUNCTION known_providers() RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT CAST('{}' AS text[]) $$;
"""
# A caller may lack every right on our tables, so the function has its owner's. Its path is fixed: `pg_temp` last, or a
# caller's temporary table would stand in for one of ours.
_ENQUEUE = """
CREATE FUNCTION enqueue(batch text, rows jsonb, options jsonb DEFAULT '{}')
RETURNS TABLE (job_id uuid, custom_id text, added boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
#variable_conflict use_column
DECLARE
  item record;
  given jsonb;
  made jsonb;
  wanted text;
  known record;
  unknown text;
BEGIN
  IF enqueue.batch IS NULL OR btrim(enqueue.batch) = '' OR length(enqueue.batch) > 255 THEN
    RAISE EXCEPTION 'batch: must be text of 1 to 255 characters' USING ERRCODE = '22023';
  END IF;
  IF enqueue.rows IS NULL OR jsonb_typeof(enqueue.rows) <> 'array' THEN
    RAISE EXCEPTION 'rows: must be a JSON array of objects' USING ERRCODE = '22023';
  END IF;
  IF jsonb_array_length(enqueue.rows) NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'rows: has % rows; a call takes 1 to 1000', jsonb_array_length(enqueue.rows)
      USING ERRCODE = '22023';
  END IF;
  options := coalesce(options, '{}');
  IF jsonb_typeof(options) <> 'object' THEN
    RAISE EXCEPTION 'options: must be a JSON object' USING ERRCODE = '22023';
  END IF;
  SELECT string_agg(key, ', ' ORDER BY key) INTO unknown FROM jsonb_object_keys(options) AS key
  WHERE key NOT IN ('provider', 'priority', 'on_unknown', 'max_cost');
  IF unknown IS NOT NULL THEN
    RAISE EXCEPTION 'options: % is not known; known: max_cost, on_unknown, priority, provider', left(unknown, 80)
      USING ERRCODE = '22023';
  END IF;
  IF coalesce(options ->> 'on_unknown', 'hold') NOT IN ('hold', 'resend') THEN
    RAISE EXCEPTION 'options: on_unknown must be hold or resend' USING ERRCODE = '22023';
  END IF;
  IF options ? 'max_cost' AND (jsonb_typeof(options -> 'max_cost') <> 'object' OR EXISTS (
      SELECT FROM jsonb_each_text(options -> 'max_cost') AS cap (provider, amount)
      WHERE NOT provider = ANY(known_providers()) OR coalesce(amount, '') !~ '^[0-9]{1,9}(\\.[0-9]{1,9})?$')) THEN
    RAISE EXCEPTION 'options: max_cost must be an object of amounts by provider, such as {"getimg": "10.00"}'
      USING ERRCODE = '22023';
  END IF;
  FOR item IN SELECT value, ordinality AS position FROM jsonb_array_elements(enqueue.rows) WITH ORDINALITY LOOP
    IF jsonb_typeof(item.value) <> 'object' THEN
      RAISE EXCEPTION 'row %, row: must be a JSON object', item.position USING ERRCODE = '22023';
    END IF;
    given := jsonb_strip_nulls(jsonb_build_object('provider', options -> 'provider', 'priority', options -> 'priority'))
      || (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(item.value) WHERE value <> 'null');
    wanted := given ->> 'custom_id';
    IF wanted IS NULL THEN
      RAISE EXCEPTION 'row %, custom_id: is missing: without one, a repeated call would buy twice', item.position
        USING ERRCODE = '22023';
    END IF;
    IF jsonb_typeof(given -> 'custom_id') <> 'string' THEN
      RAISE EXCEPTION 'row %, custom_id: must be text', item.position USING ERRCODE = '22023';
    END IF;
    IF length(wanted) > 255 THEN
      RAISE EXCEPTION 'row %, custom_id: has % characters; the limit is 255', item.position, length(wanted)
        USING ERRCODE = '22023';
    END IF;
    IF wanted !~ '[^[:space:]]' THEN
      RAISE EXCEPTION 'row %, custom_id: is blank', item.position USING ERRCODE = '22023';
    END IF;
    IF wanted ~ '^[[:space:]]|[[:space:]]$|[[:cntrl:]]' THEN
      RAISE EXCEPTION 'row %, custom_id: must be printable, without spaces at its ends', item.position
        USING ERRCODE = '22023';
    END IF;
    IF NOT given ? 'provider' THEN
      RAISE EXCEPTION 'row %, provider: is missing: name one in the row or in options; known: %', item.position,
        array_to_string(known_providers(), ', ') USING ERRCODE = '22023';
    END IF;
    IF NOT (given ->> 'provider') = ANY(known_providers()) THEN
      RAISE EXCEPTION 'row %, provider: must be one of %', item.position, array_to_string(known_providers(), ', ')
        USING ERRCODE = '22023';
    END IF;
    SELECT min(key) INTO unknown FROM jsonb_object_keys(given) AS key WHERE key LIKE 'options.%' OR key LIKE 'meta.%';
    IF unknown IS NOT NULL THEN
      RAISE EXCEPTION 'row %, %: is a column of a file; write an object, such as %', item.position, left(unknown, 80),
        CASE WHEN unknown LIKE 'o%' THEN '"options": {...}' ELSE '"metadata": {...}' END USING ERRCODE = '22023';
    END IF;
    IF length(CAST(given AS text)) > 16000000 THEN
      RAISE EXCEPTION 'row %, row: has more than 16,000,000 characters', item.position USING ERRCODE = '22023';
    END IF;
    job_id := CAST(lpad(to_hex(CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)), 12, '0') || '7'
      || lpad(to_hex(item.position), 3, '0') || substr(replace(CAST(gen_random_uuid() AS text), '-', ''), 17) AS uuid);
    custom_id := wanted;
    INSERT INTO inbox (id, batch, custom_id, request, options)
    VALUES (job_id, enqueue.batch, wanted, given, options - 'provider' - 'priority')
    ON CONFLICT (custom_id, batch) DO NOTHING;
    added := FOUND;
    -- What was in the inbox before, or is a job already. A later statement sees what was committed meanwhile.
    made := given - ARRAY['custom_id', 'provider', 'priority', 'metadata'];
    SELECT job.id, job.provider, job.request, NULL AS waiting INTO known
    FROM batch JOIN job ON job.batch_id = batch.id
    WHERE batch.name = enqueue.batch AND job.custom_id = wanted;
    IF FOUND THEN
      IF added THEN
        DELETE FROM inbox WHERE id = job_id;
      END IF;
      -- What only says a default is not stored with a job; what was erased cannot be compared any more.
      IF made -> 'n' = '1' THEN
        made := made - 'n';
      END IF;
      made := made - ARRAY(SELECT key FROM jsonb_each(made) WHERE key IN ('options', 'references')
        AND value IN ('{}', '[]'));
      IF known.provider <> given ->> 'provider'
          OR (known.request <> made AND known.request ->> 'prompt' <> '[erased]') THEN
        RAISE EXCEPTION 'batch % already holds % with a different request: use another batch name, or another '
          'custom_id for a changed row', quote_literal(enqueue.batch), wanted USING ERRCODE = '23505';
      END IF;
      job_id := known.id;
      added := false;
    ELSIF NOT added THEN
      SELECT inbox.id, inbox.request INTO STRICT known FROM inbox
      WHERE inbox.custom_id = wanted AND inbox.batch = enqueue.batch;
      IF known.request IS NOT NULL AND known.request - ARRAY['custom_id', 'priority', 'metadata']
          <> given - ARRAY['custom_id', 'priority', 'metadata'] THEN
        RAISE EXCEPTION 'batch % already holds % with a different request: use another batch name, or another '
          'custom_id for a changed row', quote_literal(enqueue.batch), wanted USING ERRCODE = '23505';
      END IF;
      job_id := known.id;
    END IF;
    RETURN NEXT;
  END LOOP;
  NOTIFY genqueue_due;
END $$;
"""


def upgrade() -> None:
    """Add the inbox and its function. Nobody may call it but whom the owner grants it, for a call may spend."""
    schema = op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(_INBOX)
    op.execute(_PROVIDERS)
    op.execute(text(_ENQUEUE.replace("{schema}", schema).replace(":", "\\:")))
    op.execute("REVOKE ALL ON FUNCTION enqueue(text, jsonb, jsonb) FROM PUBLIC")
